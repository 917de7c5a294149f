"""`make loadtest SHAPE=ramp|spike|soak`: simulated users at a whole installation, and a report that passes or fails.

    __main__.py    the command: starts model server and installation, lets locust run, compares both sides' books
    locustfile.py  the users and what each of them checks; run by locust in a process of its own
    shapes.py      how many users there are at each second [pure]
    verdict.py     the limits, and what came of them [pure]

To add a shape: a function and its line in SHAPES. To add a limit: its line in `verdict.judged`.
"""
