"""How calls from outside flow: the document's destinations as a graph, parts of it to look at, and a layout (all pure).

``ports`` finds the destination fields of any kind, ``graph`` makes nodes and edges of them, ``views`` picks what happens to
one number or groups a whole company, ``layout`` places boxes. Nothing here is shown as it is: texts and pictures are the
portal's (:mod:`appliance.console.portal.flow`). It isn't in the portal since the live hub and programs may want the graph.
"""
