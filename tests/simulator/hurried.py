"""`python -m tests.simulator.hurried N serve …`: the gateway, with the door's deadlines N times
shorter, so that what they do can be seen in seconds. The slow tests run the real ones.
"""

from __future__ import annotations

import sys

from ostiary.cli import main
from ostiary.edge import app, server

if __name__ == "__main__":
    by = float(sys.argv.pop(1))
    app.BODY_SECONDS = server.BODY_SECONDS = 30 / by
    server.HEAD_SECONDS = 15 / by
    server.STALL_SECONDS = 30 / by
    server.DRAIN_SECONDS = 10 / by
    main()
