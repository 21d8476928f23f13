"""How our pages look: on a wide screen and on a phone, by day and by night. Text keeps a contrast of 4.5 at least."""

STYLE = """
:root { color-scheme: light dark; --paper: #f7f6f3; --card: #fff; --ink: #1d2126; --soft: #5f666e; --line: #e2dfd8;
  --ok: #28724a; --drift: #935a10; --degraded: #b3412b; --fault: #96295a; --failed: #5b4b8a; --insufficient: #6d747c;
  --link: #1f5f8b; --hue: #2f6fa3; --on: #fff; --wash: #f1efea; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181b; --card: #1d2125; --ink: #e8e6e1; --soft: #a0a6ad;
  --line: #31363b; --ok: #5bbd87; --drift: #e0a24a; --degraded: #ee8b74; --fault: #e283b4; --failed: #ab9de0;
  --insufficient: #8d949b; --link: #86c1ea; --hue: #7db8e0; --on: #15181b; --wash: #24292e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1020px; margin: 0 auto; padding: 24px 20px 60px; }
header { display: flex; flex-wrap: wrap; gap: 6px 18px; align-items: baseline; margin-bottom: 18px; }
h1 { font-size: 22px; margin: 0; letter-spacing: -.01em; } h1 a { color: inherit; }
h2 { font-size: 18px; margin: 0; } .big { font-size: 27px; line-height: 1.2; letter-spacing: -.015em; }
h3 { font-size: 12px; margin: 20px 0 6px; color: var(--soft); font-weight: 600; text-transform: uppercase;
  letter-spacing: .06em; }
a { color: var(--link); text-decoration: none; } a:hover, p a, td a, li a { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 4px; }
nav { margin-left: auto; display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: baseline; }
nav form { display: inline; } nav button { border: 0; padding: 0; background: none; color: var(--link); font: inherit;
  cursor: pointer; } nav button:hover { text-decoration: underline; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 22px 20px;
  margin-bottom: 16px; }
.top { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: baseline; }
.top > .end { margin-left: auto; }
.soft { color: var(--soft); } .small { font-size: 13px; } .lead { font-size: 16px; margin-top: 6px; }
.pill { display: inline-block; border-radius: 99px; padding: 1px 10px; font-size: 12px; font-weight: 600;
  color: var(--on); background: var(--insufficient); white-space: nowrap; }
.pill.ok { background: var(--ok); } .pill.drift, .pill.warning { background: var(--drift); }
.pill.degraded, .pill.critical { background: var(--degraded); } .pill.fault { background: var(--fault); }
.pill.failed { background: var(--failed); }
.pill.plain { background: var(--wash); color: var(--soft); }
.note { border-left: 4px solid var(--insufficient); padding: 2px 0 2px 12px; margin: 10px 0; overflow-wrap: anywhere; }
.note.fault, .note.refused-data, .note.registry, .note.critical { border-color: var(--fault); }
.note.drift, .note.asked { border-color: var(--drift); }
.note.degraded, .note.retraining, .note.wrong { border-color: var(--degraded); }
.note.done { border-color: var(--ok); }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
td, th { padding: 5px 18px 5px 0; border-top: 1px solid var(--line); vertical-align: top; text-align: left; }
th { font-weight: 600; color: var(--soft); font-size: 13px; }
td.when { width: 1%; white-space: nowrap; color: var(--soft); font-variant-numeric: tabular-nums; }
td.kind { width: 1%; white-space: nowrap; font-weight: 600; } .number { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
tbody:first-child tr:first-child > * { border-top: 0; } thead th { border-top: 0; }
p { margin: 8px 0 0; } td, th, p, h1, h2, dd, li, summary { overflow-wrap: anywhere; }
ul { margin: 6px 0 0; padding-left: 20px; }
.wide { overflow-x: auto; }
dl { margin: 12px 0 0; display: grid; grid-template-columns: max-content 1fr; gap: 8px 18px; }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { background: var(--paper); border: 1px solid var(--line); border-radius: 6px; padding: 10px 12px;
  overflow: auto; max-height: 340px; margin: 8px 0; white-space: pre-wrap; overflow-wrap: anywhere; }
details { border-top: 1px solid var(--line); padding: 9px 0; } details.bare { border: 0; padding: 6px 0 0; }
summary { cursor: pointer; } .bare > summary { color: var(--soft); font-size: 13px; }
.verb { display: inline-block; min-width: 46px; font: 600 12px ui-monospace, monospace; }
.verb.post { color: var(--drift); } .verb.get { color: var(--ok); }
.chart { display: grid; grid-template-columns: 108px minmax(0, 1fr); gap: 3px 12px; align-items: center;
  margin-top: 14px; }
.chart svg { display: block; width: 100%; overflow: visible; } .chart .tall { align-self: stretch; display: flex;
  flex-direction: column; justify-content: space-between; } .chart .ends { display: flex;
  justify-content: space-between; gap: 10px; grid-column: 2; }
.chart b { font-variant-numeric: tabular-nums; font-weight: 600; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
svg .band { fill: var(--hue); opacity: .2; } svg .line { fill: none; stroke: var(--hue); stroke-width: 1.8;
  vector-effect: non-scaling-stroke; }
svg .axis { stroke: var(--line); } svg .limit { stroke: var(--soft); stroke-dasharray: 4 3; }
svg .swap { stroke: var(--soft); stroke-dasharray: 2 3; } svg .error { stroke: var(--ink); opacity: .45; }
svg .dot { fill: var(--ink); } svg .part { fill: var(--card); stroke: var(--ink); stroke-width: 1.3; }
svg .ok { fill: var(--ok); } svg .drift { fill: var(--drift); } svg .degraded { fill: var(--degraded); }
svg .fault { fill: var(--fault); } svg .failed { fill: var(--failed); } svg .insufficient { fill: var(--insufficient); }
svg .quiet { fill: var(--insufficient); opacity: .55; } svg .hit { fill: transparent; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; } .legend span { white-space: nowrap; }
.legend svg { width: 12px; height: 12px; margin-right: 5px; vertical-align: -1px; }
form.act { display: inline-block; margin: 0 8px 8px 0; } .acts { margin-top: 12px; }
.acts fieldset { border: 1px solid var(--line); border-radius: 8px; margin: 10px 0 0; padding: 10px 14px 14px;
  min-width: 0; } legend { font-weight: 600; padding: 0 5px; }
label { display: block; font-size: 13px; color: var(--soft); margin: 4px 0; }
input { font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--insufficient);
  border-radius: 6px; padding: 7px 10px; width: 100%; }
.row { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; } .row input { flex: 1 1 220px; width: auto;
  min-width: 0; }
button { font: inherit; font-weight: 600; border: 1px solid var(--insufficient); border-radius: 6px;
  padding: 7px 14px; background: var(--wash); color: var(--ink); cursor: pointer; } button:hover {
  border-color: var(--ink); }
button.first { background: var(--link); border-color: var(--link); color: var(--on); }
.narrow { max-width: 460px; margin: 40px auto; } .narrow button { margin-top: 12px; }
iframe { display: block; width: 100%; height: 75vh; border: 1px solid var(--line); border-radius: 8px;
  background: #fff; margin-top: 10px; }
@media (max-width: 620px) { main { padding: 16px 12px 40px; } .card { padding: 14px 14px 16px; } nav { margin-left: 0; }
  h1 { font-size: 20px; } .big { font-size: 23px; } dl { grid-template-columns: 1fr; gap: 1px; }
  dd { margin-bottom: 8px; }
  .chart { grid-template-columns: minmax(0, 1fr); } .chart .ends { grid-column: 1; } .chart .tall { display: flex;
  flex-direction: row; justify-content: flex-start; gap: 12px; }
  .tall .high, .tall .low { order: 1; } .high::before { content: "top "; } .low::before { content: "bottom "; }
  .top > .end { margin-left: 0; } .row input { flex-basis: 100%; }
  .lines, .lines tbody, .lines tr, .lines td { display: block; width: auto; } .lines tr { border-top: 1px solid
  var(--line); padding: 6px 0; } .lines td { border: 0; padding: 0; } .lines td.when, .lines td.kind { display: inline;
  padding-right: 8px; } .lines tr:first-child { border-top: 0; } td, th { padding-right: 10px; } }
"""
