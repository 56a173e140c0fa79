package org.tandem.client;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * What became of every message of one run of one producer. Sequence numbers start at 1 and each is
 * sent once by the application; what the transport repeats after a reconnect is the same message.
 */
final class Account {
    /** How many acknowledgements are kept one by one, the newest. Counts are of all of them. */
    static final int KEPT = 400_000;

    /** One acknowledged send; times are epoch milliseconds. */
    record Ack(long seq, long start, long ack) {
    }

    /** A time without acknowledgements between two of them. */
    record Gap(long from, long to) {
        long millis() {
            return to - from;
        }
    }

    /** The counts at one moment. */
    record Totals(long sent, long acknowledged, long uncertain, long received, long duplicates,
            long redelivered, long foreign, long outstanding, long lastAck, long longestGap) {
    }

    private final BitSet acknowledged = new BitSet();
    private final BitSet received = new BitSet();
    private final long[] seqs;
    private final long[] starts;
    private final long[] acks;
    /** For each acknowledgement the one before it, or 0 where producing had been stopped. */
    private final long[] previous;
    private long kept;
    private long sequence;
    private boolean sending;
    private long ackedCount;
    private long uncertainCount;
    private long receivedCount;
    private long outstanding;
    private long duplicates;
    private long redelivered;
    private long foreign;
    private long lastAck;
    private long chainedTo;
    private long longestGap;
    private long lastArrivalNanos = System.nanoTime();

    Account() {
        this(KEPT);
    }

    Account(int capacity) {
        seqs = new long[capacity];
        starts = new long[capacity];
        acks = new long[capacity];
        previous = new long[capacity];
    }

    /** Takes the next sequence number; its send begins. */
    synchronized long begin() {
        sending = true;
        return ++sequence;
    }

    /** The broker has acknowledged the message. */
    synchronized void acknowledged(long seq, long start, long ack) {
        sending = false;
        acknowledged.set((int) seq);
        ackedCount++;
        // The consumer may have been faster than the acknowledgement.
        if (!received.get((int) seq)) {
            outstanding++;
        }
        int at = (int) (kept++ % seqs.length);
        seqs[at] = seq;
        starts[at] = start;
        acks[at] = ack;
        previous[at] = chainedTo;
        if (chainedTo > 0) {
            longestGap = Math.max(longestGap, ack - chainedTo);
        }
        chainedTo = ack;
        lastAck = ack;
        notifyAll();
    }

    /** The send failed: the message may be there or not. */
    synchronized void uncertain() {
        sending = false;
        uncertainCount++;
        notifyAll();
    }

    /** Producing was stopped on purpose: the time until the next acknowledgement is no gap. */
    synchronized void pausedOnPurpose() {
        chainedTo = 0;
    }

    /** A message of this run arrived. */
    synchronized void received(long seq, boolean again) {
        lastArrivalNanos = System.nanoTime();
        if (again) {
            redelivered++;
        }
        if (received.get((int) seq)) {
            duplicates++;
        } else {
            received.set((int) seq);
            receivedCount++;
            if (acknowledged.get((int) seq)) {
                outstanding--;
            }
        }
        notifyAll();
    }

    /** A message of another producer, or of an earlier run, arrived. */
    synchronized void receivedForeign() {
        foreign++;
    }

    synchronized Totals totals() {
        return new Totals(sequence, ackedCount, uncertainCount, receivedCount, duplicates,
                redelivered, foreign, outstanding, lastAck, longestGap);
    }

    /** The kept acknowledgements since then, oldest first. */
    synchronized List<Ack> acks(long since, int limit) {
        List<Ack> found = new ArrayList<>();
        for (long i = firstSince(since); i < kept && found.size() < limit; i++) {
            int at = (int) (i % seqs.length);
            found.add(new Ack(seqs[at], starts[at], acks[at]));
        }
        return found;
    }

    /** The gaps longer than {@code min} that ended since then, oldest first. */
    synchronized List<Gap> gaps(long since, long min) {
        List<Gap> found = new ArrayList<>();
        for (long i = firstSince(since); i < kept; i++) {
            int at = (int) (i % seqs.length);
            if (previous[at] > 0 && acks[at] - previous[at] > min) {
                found.add(new Gap(previous[at], acks[at]));
            }
        }
        return found;
    }

    /** The acknowledged messages that have not arrived, as far as {@code limit}. */
    synchronized List<Long> missing(int limit) {
        BitSet missing = (BitSet) acknowledged.clone();
        missing.andNot(received);
        return missing.stream().limit(limit).asLongStream().boxed().toList();
    }

    /**
     * Waits until no send is under way, every acknowledged message has arrived and nothing has
     * arrived for {@code silence} milliseconds.
     *
     * @return whether that came true within {@code timeout} milliseconds
     */
    synchronized boolean awaitDrained(long timeout, long silence) throws InterruptedException {
        long begun = System.nanoTime();
        long deadline = begun + TimeUnit.MILLISECONDS.toNanos(timeout);
        while (true) {
            long now = System.nanoTime();
            // Silence counts from this call on: what a slow broker still holds gets its chance.
            long quietSince = lastArrivalNanos - begun > 0 ? lastArrivalNanos : begun;
            long quietAt = quietSince + TimeUnit.MILLISECONDS.toNanos(silence);
            boolean settled = !sending && outstanding == 0;
            if (settled && quietAt - now <= 0) {
                return true;
            }
            if (deadline - now <= 0) {
                return false;
            }
            long until = settled && quietAt - deadline < 0 ? quietAt : deadline;
            TimeUnit.NANOSECONDS.timedWait(this, Math.max(until - now, 1_000_000));
        }
    }

    /** The index of the first kept acknowledgement since then: times never fall, so by halves. */
    private long firstSince(long since) {
        long low = Math.max(0, kept - seqs.length);
        long high = kept;
        while (low < high) {
            long middle = (low + high) >>> 1;
            if (acks[(int) (middle % seqs.length)] < since) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }
}
