"""TURN (RFC 8656): how voice of browsers and mobiles gets in from any network, by UDP or, where only the web is let through, by TLS."""
