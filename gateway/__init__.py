"""The data plane: relay every request to its arm, change nothing that the client can see, capture what was said.

    app.py        builds the objects; what is served at which path
    server.py     one listener, its connections, and a drain that lets open streams finish
    connection.py one client's connection: HTTP/1.1 within bounds, requests in order
    request.py    one request and its answer, as handlers see them
    outbox.py     what connections write, together, in the loop's next turn
    front.py      from a request to an `Incoming`: key, admission, body, route, policy
    heads.py      what the lines of a head mean, worked out once for all requests that bring the same
    terms.py      what a head asks for on its route: slices, a pin, what may be kept [pure]
    exchange.py   one request as values: what came in, what has happened to it
    dispatch.py   the life of one request: plan, permit, open, fallback, relay, settle
    attempt.py    one arm's call within a request
    outcomes.py   how a request ended, as records and metrics say it [pure]
    retry.py      which faults the same arm is asked again for [pure]
    lanes.py      each upstream with its breaker and retry budget; kept over snapshots
    routing.py    what a snapshot means for requests [pure]
    client.py     the client's end of one request: its leaving, the process's end
    relay.py      bytes to the client, the same bytes into capture (`tutelage.capture`)
    wire.py       the request's top level: read, rewrite `model`, inject usage [pure]
    needs.py      what a request needs of its arm, endpoint by endpoint [pure]
    fields.py     which fields an upstream gets, and what becomes of the others [pure]
    sse.py        server-sent events split on bytes [pure]
    prefix.py     JSON of which only the beginning is there [pure]
    wording.py    an upstream's error as clients may read it [pure]
    redact.py     secrets and contacts out of text, in the spool's thread
    shadow.py     the other arm's answer, off the path
    spool.py      one process's records on their way to its file
    spool_queue.py  the bounded queue, and what became of each record
    writer.py     the spool's thread: translation and group commit
    memory.py     what bodies and answers occupy, and its bound
    pressure.py   how far the event loop is behind, and what is turned away then
    quotas.py     the limits of keys
    usage.py      what an answer cost, for limits [pure]
    auth.py admission.py errors.py metrics.py tallies.py snapshots.py
    api/          one endpoint per file
    upstreams/    how to reach an upstream: protocol, HTTP, litellm

Never imports scoring. Nothing here waits for the store, the disk, a judge or another process while a client waits.
"""
