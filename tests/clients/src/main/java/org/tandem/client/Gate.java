package org.tandem.client;

import java.util.concurrent.TimeUnit;

/** A switch that work waits on: work goes on while it is open. */
final class Gate {
    private boolean open;

    Gate(boolean open) {
        this.open = open;
    }

    synchronized void set(boolean open) {
        this.open = open;
        notifyAll();
    }

    synchronized boolean isOpen() {
        return open;
    }

    synchronized void awaitOpen() throws InterruptedException {
        while (!open) {
            wait();
        }
    }

    /** Waits until this {@link System#nanoTime()}, but not longer than the gate is open. */
    synchronized void pauseUntil(long nanos) throws InterruptedException {
        for (long left = nanos - System.nanoTime(); open && left > 0; left = nanos - System.nanoTime()) {
            TimeUnit.NANOSECONDS.timedWait(this, left);
        }
    }
}
