"""Who somebody is, and what he may see and do.

``roles`` and ``permissions`` (pure) say what a person's roles allow; ``guarded`` is the one place where that is enforced, for
the portal, the API and the hub alike.
"""
