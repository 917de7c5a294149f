"""`tutelage evaluate`: N real inputs through both arms, scored as the gate would score them, side by side.

Map    `inputs`   what may stand in the file
       `arms`     both arms asked through the gateway's own data plane, each answer as an attempt
       `run`      the experiment: ask, score, judge, some at a time
       `page`     the HTML report
The numbers are `scoring.evaluation`'s. Nothing is captured, counted as traffic or trained on.
"""
