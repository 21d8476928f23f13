"""How a card's page looks: on paper, on a phone, by day and by night."""

STYLE = """
:root { color-scheme: light dark; --paper: #f7f6f3; --card: #fff; --ink: #1d2126; --soft: #646a72; --line: #e4e1da;
  --ok: #2f7f52; --warn: #a8661a; --bad: #b3412b; --quiet: #6d747c; --hue: #2f6fa3; --deep: 47, 111, 163;
  --wrong: 184, 70, 45; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181b; --card: #1d2125; --ink: #e8e6e1; --soft: #a0a6ad;
  --line: #30353a; --ok: #3a8f60; --warn: #b57a2c; --bad: #c2543c; --quiet: #59616a; --hue: #7db8e0;
  --deep: 74, 140, 190; --wrong: 200, 84, 60; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 32px 20px 60px; }
header { margin-bottom: 20px; }
.kicker { margin: 0; font-size: 12px; font-weight: 600; letter-spacing: .08em; text-transform: uppercase;
  color: var(--soft); }
h1 { font-size: 30px; line-height: 1.2; margin: 2px 0 10px; letter-spacing: -.015em; overflow-wrap: anywhere; }
h1 .soft { font-weight: 400; }
h2 { font-size: 17px; margin: 0 0 10px; }
section, .tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
section { padding: 18px 22px 20px; margin-bottom: 16px; }
.soft { color: var(--soft); } .small { font-size: 13px; }
p { margin: 8px 0 0; overflow-wrap: anywhere; } .verdict { font-size: 16px; margin-top: 12px; }
.warning { border-left: 4px solid var(--bad); padding: 2px 0 2px 12px; font-weight: 600; }
.pill { display: inline-block; border-radius: 99px; padding: 1px 11px; margin-right: 6px; font-size: 12px;
  font-weight: 600; color: #fff; background: var(--quiet); white-space: nowrap; }
.passed { background: var(--ok); } .failed, .refused { background: var(--bad); }
.insufficient, .question, .waived, .kept { background: var(--warn); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px; margin-bottom: 16px; }
.tile { padding: 12px 16px; display: flex; flex-direction: column; }
.tile b { font-size: 22px; line-height: 1.35; font-variant-numeric: tabular-nums; white-space: nowrap; }
.gate { display: grid; grid-template-columns: 96px 1fr; gap: 0 12px; padding: 10px 0;
  border-top: 1px solid var(--line); }
.gate:first-of-type { border-top: 0; padding-top: 0; } .gate p { margin: 2px 0 0; }
.gate .pill { align-self: start; justify-self: start; margin-top: 2px; }
ul { margin: 0; padding-left: 20px; } li { margin: 4px 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
caption { text-align: left; color: var(--soft); font-size: 13px; padding-bottom: 8px; }
th { text-align: left; font-weight: 600; } thead th { color: var(--soft); font-size: 13px; }
td, th { padding: 6px 18px 6px 0; border-top: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; }
thead th, tbody:first-child tr:first-child > * { border-top: 0; } tbody th { width: 34%; }
.bar { display: block; width: 100%; max-width: 220px; height: 14px; }
.bar .axis { stroke: var(--line); } .bar .span { fill: var(--hue); opacity: .45; } .bar .dot { fill: var(--hue); }
.bar .mark { stroke: var(--ink); stroke-width: 1.5; }
.matrix { width: auto; } .matrix td, .matrix th { padding: 5px 9px; border: 0; text-align: right; min-width: 44px; }
.matrix tbody th { width: auto; white-space: nowrap; }
.matrix .right { background: rgba(var(--deep), var(--s)); }
.matrix .wrong { background: rgba(var(--wrong), var(--s)); }
.matrix .dark { color: #fff; }
.plot { display: block; width: 100%; height: auto; margin-top: 10px; }
.plot text { fill: var(--soft); font-size: 12px; }
.plot .outer { fill: var(--hue); opacity: .18; } .plot .inner { fill: var(--hue); opacity: .32; }
.plot .line { fill: none; stroke: var(--hue); stroke-width: 2.5; }
.plot .frame { fill: none; stroke: var(--line); } .plot .dot { fill: var(--hue); }
.squares { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: 8px 18px; }
.squares figure { margin: 0; max-width: 300px; } figcaption { font-size: 13px; font-weight: 600; }
.plot .thin { fill: none; stroke: var(--soft); stroke-width: 1.2; } .plot .axis { stroke: var(--soft); }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { background: var(--paper); border: 1px solid var(--line); border-radius: 6px; padding: 10px 12px; margin: 0 0 12px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; margin: 12px 0 4px; color: var(--soft); }
footer { margin-top: 22px; overflow-wrap: anywhere; }
@media (max-width: 520px) { main { padding: 22px 14px 40px; } section { padding: 15px 15px 17px; }
  .gate { grid-template-columns: 1fr; gap: 6px; } td, th { padding-right: 10px; } h1 { font-size: 25px; } }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
