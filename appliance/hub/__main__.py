"""``python -m appliance.hub``."""

import sys

from appliance.hub.run import main

sys.exit(main())
