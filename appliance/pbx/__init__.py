"""The PBX: what the document says about telephony, turned into Asterisk's configuration."""
