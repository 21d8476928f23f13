#!/bin/sh
# Every process starts with the tools' variables for its home: telemetry off, sites under the home, malloc.
set -eu
eval "$(python -m data.environment "$HOLDFAST_HOME")"
exec "$@"
