package org.tandem.client;

import jakarta.jms.JMSException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/** A thread that does its work over a connection of its own, and over a new one when that ends. */
abstract class Worker implements Runnable {
    private static final long SHORTEST_PAUSE_MILLIS = 100;
    private static final long LONGEST_PAUSE_MILLIS = 1000;

    /** Open while the work is wanted. */
    final Gate gate;
    /** How often the transport was interrupted. */
    final AtomicLong interruptions = new AtomicLong();
    private final Link.Target target;
    private final String role;
    private volatile Link link;
    private long pauseMillis = SHORTEST_PAUSE_MILLIS;

    Worker(Link.Target target, String role, boolean wanted) {
        this.target = target;
        this.role = role;
        this.gate = new Gate(wanted);
    }

    /** Works until the gate closes or the connection fails. */
    abstract void work(Link link) throws JMSException, InterruptedException;

    /** Called when the gate has closed. */
    void rest() {
    }

    /** Something went well: the next failure is a first one. */
    final void progress() {
        pauseMillis = SHORTEST_PAUSE_MILLIS;
    }

    /** The connection, or null while there is none. */
    final Link link() {
        return link;
    }

    final void start() {
        Thread thread = new Thread(this, role);
        thread.setDaemon(true);
        thread.start();
    }

    @Override
    public final void run() {
        try {
            while (true) {
                gate.awaitOpen();
                workOnce();
                if (!gate.isOpen()) {
                    rest();
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void workOnce() throws InterruptedException {
        try (Link opened = new Link(target, role, interruptions)) {
            link = opened;
            Log.line(role + " connected to " + opened.address());
            work(opened);
        } catch (JMSException | RuntimeException e) {
            Log.line(role + " failed, again in " + pauseMillis + " ms: " + e);
            gate.pauseUntil(System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(pauseMillis));
            pauseMillis = Math.min(pauseMillis * 2, LONGEST_PAUSE_MILLIS);
        } finally {
            link = null;
        }
    }
}
