"""The user agents of the tests against real peers: networks, phones, providers, browsers, and judges of what they hear.

`network` hosts and LANs · `softphone` baresip · `webrtc` a browser's phone · `sipp` many calls with books ·
`peer` scripted SIP, provider, RFC 4475 · `tap` what goes over the wire · `audio` tones · `bare_engine` for self-tests.

Debian packages: baresip-core sip-tester tcpdump nftables iproute2 coreutils, and bubblewrap for the engine. Needs root.
"""
