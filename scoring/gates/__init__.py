"""Gates: what the evidence allows.

Map    `controller`  `decide`: the order in which gates are asked, and what follows. Start reading here
       `state`       what a route has counted; how a unit is folded; bytes
       `accounts`    one cell's evidence with its log-capital
       `view`        what a gate reads; thresholds per rung
       `quality` `fresh` `harm` `futility` `holds`   one rule each, answering with a `verdict.Finding`
       `facts`       what only the shell knows
       `numbers` `explain`   a decision in numbers, for records and for people
"""
