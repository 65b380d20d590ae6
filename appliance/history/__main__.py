"""``python -m appliance.history``."""

import sys

from appliance.history.run import main

sys.exit(main())
