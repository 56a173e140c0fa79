package org.tandem.client;

import jakarta.jms.BytesMessage;
import jakarta.jms.DeliveryMode;
import jakarta.jms.Destination;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Session;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;

/** Sends many messages as fast as the broker takes them, then receives them all, and counts every one. */
final class Flow {
    private static final String HELP = """
            Sends many messages as fast as the broker takes them, then receives them: one line of JSON.

              --url, --user, --password   as for the account
              --queue NAME       (default tandem.flow)
              --topic NAME       a topic instead of the queue; its subscribers are there from the start
              --count N          messages of all senders together (default 10000)
              --size N           bytes in a message (default 1024)
              --producers N      senders, each with a connection of its own (default 4)
              --consumers N      receivers (default 4)
              --pause MS         how long a receiver takes for a message before all are sent (default 0)
              --transient        messages that are not persistent
              --at-once          receive while sending, not only afterwards
              --timeout SECONDS  how long nothing may move (default 60)

            The exit code is 0 if every message that was acknowledged was received, else 1.
            """;
    /** What waits is to wait in the broker: a topic's subscriber takes 32,766 messages ahead by default. */
    private static final String PREFETCH = "?consumer.prefetchSize=100";
    private static final long TICK_MILLIS = 100;
    private static final long TICKS_OF_A_LINE = 50;

    private final Options options;
    private final Link.Target target;
    private final Ledger ledger;
    private final boolean topic;
    private final long size;
    private final long pauseMillis;
    private final CountDownLatch subscribed;
    private final AtomicBoolean sendingIsOver = new AtomicBoolean();
    private final AtomicBoolean over = new AtomicBoolean();
    private final AtomicLong interruptions = new AtomicLong();

    private Flow(Options options) {
        this.options = options;
        target = new Link.Target(options.text("url", null), options.text("user", null),
                options.text("password", null));
        topic = options.text("topic", null) != null;
        int producers = positive("producers", 4);
        int consumers = positive("consumers", 4);
        int each = positive("count", 10_000) / producers;
        subscribed = new CountDownLatch(consumers);
        ledger = new Ledger(producers, each, topic ? consumers : 1);
        size = options.number("size", 1024);
        pauseMillis = options.number("pause", 0);
    }

    /** Runs the command and returns its exit code. */
    static int run(String[] args) throws InterruptedException {
        if (Arrays.asList(args).contains("--help")) {
            System.out.print(HELP);
            return 0;
        }
        Options options = Options.parse(args,
                "url user password queue topic count size producers consumers pause timeout", "transient at-once",
                System.getenv());
        if (options.text("url", null) == null) {
            throw new Options.Mistake("--url is needed");
        }
        Map<String, Object> report = new Flow(options).run();
        System.out.println(Json.write(report));
        return Boolean.TRUE.equals(report.get("complete")) ? 0 : 1;
    }

    private int positive(String name, int otherwise) {
        long number = options.number(name, otherwise);
        if (number < 1 || number > Integer.MAX_VALUE) {
            throw new Options.Mistake("--" + name + " must be above 0");
        }
        return (int) number;
    }

    private Map<String, Object> run() throws InterruptedException {
        boolean receiveFirst = topic || options.on("at-once", false);
        if (receiveFirst) {
            startAll("consumer", positive("consumers", 4), this::receive);
            // A topic keeps nothing for a subscriber that comes later.
            if (!subscribed.await(options.number("timeout", 60), TimeUnit.SECONDS)) {
                throw new IllegalStateException("the receivers did not subscribe in time");
            }
        }
        long begun = System.currentTimeMillis();
        List<Thread> senders = startAll("producer", positive("producers", 4), this::send);
        boolean moved = await(() -> senders.stream().noneMatch(Thread::isAlive));
        long sent = System.currentTimeMillis();
        sendingIsOver.set(true);
        if (!receiveFirst) {
            startAll("consumer", positive("consumers", 4), this::receive);
        }
        moved &= await(ledger::complete);
        over.set(true);
        long millis = System.currentTimeMillis() - begun;
        return Json.object(
                "acknowledged", ledger.acknowledged(),
                "received", ledger.received(),
                "lost", ledger.lost(),
                "duplicates", ledger.duplicates(),
                "interruptions", interruptions.get(),
                "sendMillis", sent - begun,
                "millis", millis,
                "perSecond", ledger.received() * 1000 / Math.max(1, millis),
                "complete", moved && ledger.complete());
    }

    /** Whether it came to pass before nothing moved for too long. */
    private boolean await(java.util.function.BooleanSupplier done) throws InterruptedException {
        long limit = options.number("timeout", 60) * 1000;
        long last = -1;
        long since = System.currentTimeMillis();
        for (long tick = 0; !done.getAsBoolean(); tick++) {
            long now = System.currentTimeMillis();
            long moves = ledger.acknowledged() + ledger.received() + ledger.duplicates();
            if (moves != last) {
                last = moves;
                since = now;
            } else if (now - since > limit) {
                return false;
            }
            if (tick % TICKS_OF_A_LINE == 0) {
                Log.line("acknowledged=" + ledger.acknowledged() + " received=" + ledger.received());
            }
            Thread.sleep(TICK_MILLIS);
        }
        return true;
    }

    /** What one thread does over a connection. */
    private interface Work {
        void over(Session session, int number) throws JMSException, InterruptedException;
    }

    private List<Thread> startAll(String role, int count, Work work) {
        List<Thread> threads = new ArrayList<>();
        for (int n = 0; n < count; n++) {
            int number = n;
            Thread thread = new Thread(() -> workOn(role + "-" + number, number, work), role + "-" + n);
            thread.setDaemon(true);
            thread.start();
            threads.add(thread);
        }
        return threads;
    }

    private void workOn(String role, int number, Work work) {
        try (Link link = new Link(target, role, interruptions)) {
            work.over(link.connection().createSession(false, Session.AUTO_ACKNOWLEDGE), number);
        } catch (JMSException e) {
            Log.line(role + " failed: " + e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private Destination destination(Session session, String how) throws JMSException {
        return topic ? session.createTopic(options.text("topic", null) + how)
                : session.createQueue(options.text("queue", "tandem.flow") + how);
    }

    private void send(Session session, int producer) throws JMSException {
        MessageProducer sender = session.createProducer(destination(session, ""));
        sender.setDeliveryMode(
                options.on("transient", false) ? DeliveryMode.NON_PERSISTENT : DeliveryMode.PERSISTENT);
        byte[] body = new byte[(int) size];
        for (int n = 0; n < ledger.each(); n++) {
            BytesMessage message = session.createBytesMessage();
            message.writeBytes(body);
            message.setIntProperty("producer", producer);
            message.setIntProperty("number", n);
            sender.send(message);
            ledger.acknowledge();
        }
    }

    private void receive(Session session, int consumer) throws JMSException, InterruptedException {
        MessageConsumer receiver = session.createConsumer(destination(session, PREFETCH));
        subscribed.countDown();
        while (!over.get()) {
            Message message = receiver.receive(TICK_MILLIS);
            if (message != null) {
                ledger.receive(topic ? consumer : 0, message.getIntProperty("producer"),
                        message.getIntProperty("number"));
                if (pauseMillis > 0 && !sendingIsOver.get()) {
                    Thread.sleep(pauseMillis);
                }
            }
        }
    }
}
