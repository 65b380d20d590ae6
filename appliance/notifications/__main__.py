"""``python -m appliance.notifications``."""

import sys

from appliance.notifications.run import main

sys.exit(main())
