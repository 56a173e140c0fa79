package org.tandem.client;

import java.util.Map;

/** A producer and a consumer of one queue, and the account between them. */
final class Client {
    /** How long nothing may arrive before a drain is done: time for a duplicate to show. */
    private static final long SILENCE_MILLIS = 1000;
    /** How many lost messages a drain names. */
    private static final int NAMED = 100;

    private final Account account = new Account();
    private final String id;
    private final String queue;
    private final Producer producer;
    private final Consumer consumer;
    /** The outcome of the last drain; null when messages were sent after it. */
    private volatile Long lost;

    Client(Options options) {
        String url = options.text("url", null);
        if (url == null) {
            throw new Options.Mistake("--url is needed");
        }
        var target = new Link.Target(url, options.text("user", null), options.text("password", null));
        id = options.text("id", Options.hostname());
        queue = options.text("queue", "tandem." + id);
        double rate = options.decimal("rate", 50);
        if (!(rate > 0)) {
            throw new Options.Mistake("--rate must be above 0");
        }
        // A restarted client must not take its earlier self's messages for its own.
        String run = id + "-" + Long.toString(System.currentTimeMillis(), 36);
        producer = new Producer(target, account, queue, run, rate, (int) options.number("size", 100),
                options.on("produce", true));
        consumer = new Consumer(target, account, queue, run, options.on("consume", true));
    }

    void start() {
        consumer.start();
        producer.start();
    }

    Account account() {
        return account;
    }

    void produce(boolean wanted) {
        if (wanted) {
            lost = null;
        }
        producer.gate.set(wanted);
    }

    void consume(boolean wanted) {
        consumer.gate.set(wanted);
    }

    /** Stops producing and waits for what was acknowledged; what is missing then counts as lost. */
    Map<String, Object> drain(long timeoutSeconds) throws InterruptedException {
        produce(false);
        boolean drained = account.awaitDrained(timeoutSeconds * 1000, SILENCE_MILLIS);
        var missing = account.missing(NAMED);
        lost = account.totals().outstanding();
        Log.line("drained=" + drained + " lost=" + lost + " " + missing);
        Map<String, Object> report = stats();
        report.put("drained", drained);
        report.put("lostSequences", missing);
        return report;
    }

    Map<String, Object> stats() {
        Account.Totals totals = account.totals();
        Link link = producer.link() != null ? producer.link() : consumer.link();
        String address = link == null ? null : link.address();
        long lostByProducer = producer.interruptions.get();
        long lostByConsumer = consumer.interruptions.get();
        return Json.object(
                "id", id,
                "queue", queue,
                "producing", producer.gate.isOpen(),
                "consuming", consumer.gate.isOpen(),
                "sent", totals.sent(),
                "acknowledged", totals.acknowledged(),
                "uncertain", totals.uncertain(),
                "received", totals.received(),
                "duplicates", totals.duplicates(),
                "redelivered", totals.redelivered(),
                "foreign", totals.foreign(),
                "outstanding", totals.outstanding(),
                "lost", lost,
                "connectedTo", address,
                "broker", address == null ? null : link.broker(),
                "transportInterruptions", lostByProducer + lostByConsumer,
                "producerInterruptions", lostByProducer,
                "consumerInterruptions", lostByConsumer,
                "lastAckMillis", totals.lastAck(),
                "longestGapMillis", totals.longestGap(),
                "nowMillis", System.currentTimeMillis());
    }
}
