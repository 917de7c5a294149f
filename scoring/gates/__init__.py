"""Gates: what the evidence allows.

Map    `controller`  `decide`: the order in which gates are asked, and what follows. Start reading here
       `state`       what a route has counted; how a unit is folded. `codec`: as bytes
       `accounts`    one cell's evidence with its log-capital
       `metrics`     what is tested in each cell; its prior
       `slices`      which slices are cells; `adaptive`: which of their values need only be watched
       `labels`      what people said of drawn pairs
       `caps`        how much one user may weigh. `tally`: how much of what was sampled came to a score
       `streams`     the detectors and their one false-alarm budget
       `served`      how a request that may be in no pair enters the state
       `latency` `fastlane`   what the detectors read beside scores: slowness, outcomes between users
       `view`        what a gate reads; thresholds per rung
       `required` `fresh` `anchored` `harm` `futility` `holds`   one rule each, answering with a `verdict.Finding`
       `order`       the alarm about a judge who minds the order of the answers; it holds nothing
       `facts`       what only the shell knows
       `numbers`     a decision in numbers, for records and for people
"""
