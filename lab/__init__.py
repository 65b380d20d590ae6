"""The whole system on one machine, in network namespaces: ``make lab``, and the ground of tests.

A centre, a branch at Torino and one at Roma with an edge and three lines each, by two providers of Internet and one of mobile data; phones that talk, and
a telephone company. What goes over a line can be harmed by name (:mod:`lab.impairments`), as ``centralino lab impair torino-fibre blackhole`` does.

:mod:`lab.plan` says what there is, :mod:`lab.topology` builds it, :mod:`lab.wire` is what a line's packets pass, :mod:`lab.calls` keeps people talking and judges what they hear
(:mod:`appliance.failover.quality`), :mod:`lab.page` shows it. The machines, phones and captures are the tests' own (:mod:`tests.hil.agents`).
"""
