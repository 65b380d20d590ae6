"""Services answered by the PBX itself: echo test, which number am I, date and time, star codes."""
