"""The administration portal: lists and forms of every kind, made from its model.

What is where: :mod:`forms` describes a model as a form, :mod:`submission` reads what a browser sends back (both pure),
:mod:`pages` answers requests, ``templates/portal/widgets.html`` has one macro for each widget, ``static/`` style and
scripts. Labels stand in :mod:`appliance.labels`.
"""
