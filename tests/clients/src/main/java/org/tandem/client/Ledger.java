package org.tandem.client;

import java.util.BitSet;
import java.util.concurrent.atomic.AtomicLong;

/** Which of many numbered messages have arrived; at a topic each subscriber has to get every one. */
final class Ledger {
    private final BitSet[][] arrived;
    private final int each;
    private final AtomicLong acknowledged = new AtomicLong();
    private final AtomicLong received = new AtomicLong();
    private final AtomicLong duplicates = new AtomicLong();

    Ledger(int producers, int each, int subscribers) {
        this.each = each;
        arrived = new BitSet[subscribers][producers];
        for (BitSet[] ofSubscriber : arrived) {
            for (int producer = 0; producer < producers; producer++) {
                ofSubscriber[producer] = new BitSet(each);
            }
        }
    }

    /** How many messages each producer sends. */
    int each() {
        return each;
    }

    void acknowledge() {
        acknowledged.incrementAndGet();
    }

    void receive(int subscriber, int producer, int number) {
        BitSet bits = arrived[subscriber][producer];
        boolean twice;
        synchronized (bits) {
            twice = bits.get(number);
            bits.set(number);
        }
        (twice ? duplicates : received).incrementAndGet();
    }

    long acknowledged() {
        return acknowledged.get();
    }

    long received() {
        return received.get();
    }

    long duplicates() {
        return duplicates.get();
    }

    /** Acknowledged to a sender, and missing at a receiver. */
    long lost() {
        return acknowledged.get() * arrived.length - received.get();
    }

    /** Whether every message was acknowledged and has arrived everywhere. */
    boolean complete() {
        long all = (long) arrived[0].length * each;
        return acknowledged.get() == all && lost() == 0;
    }
}
