"""The demo: the real gateway, control and worker on real input, watched while a student earns its traffic, or does not.

    scenario.py   what may be shown: which student, what goes wrong on the way, when it is over
    recording.py  the recorded answers: every held-out input by teacher, good student and weak student
    replay.py     upstreams that answer from the recording (a process of its own)
    site.py       one installation in a folder: configuration, keys, `tutelage serve`
    driver.py     the application: requests with fresh sessions, drawn with replacement
    watch.py      reads the admin plane while it runs
    summary.py    what happened, as `summary.json`     picture.py  the same, drawn
    run.py        one run from start to end
    live.py       the same with a student trained and served here     record.py  makes the recording

Nothing here moves a share or makes up a number: it sends requests and reads what the admin plane and the spools say.
"""
