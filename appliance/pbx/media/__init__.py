"""How signalling and voice reach the engine: listeners, transports, codecs."""
