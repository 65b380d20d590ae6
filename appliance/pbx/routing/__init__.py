"""Where calls go: destinations, inbound numbers and routes, outbound routes."""
