package org.tandem.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

class AccountTest {
    private final Account account = new Account(4);

    private long acknowledge(long at) {
        long seq = account.begin();
        account.acknowledged(seq, at - 1, at);
        return seq;
    }

    @Test
    void anAcknowledgedMessageIsOutstandingUntilItArrives() {
        long seq = acknowledge(10);
        assertEquals(1, account.totals().outstanding());
        assertEquals(List.of(seq), account.missing(5));
        account.received(seq, false);
        assertEquals(0, account.totals().outstanding());
        assertEquals(List.of(), account.missing(5));
    }

    @Test
    void aMessageMayArriveBeforeItsAcknowledgement() {
        long seq = account.begin();
        account.received(seq, false);
        account.acknowledged(seq, 1, 2);
        assertEquals(0, account.totals().outstanding());
        assertEquals(1, account.totals().received());
    }

    @Test
    void aSecondArrivalIsADuplicateAndNotReceivedTwice() {
        long seq = acknowledge(10);
        account.received(seq, false);
        account.received(seq, true);
        Account.Totals totals = account.totals();
        assertEquals(1, totals.received());
        assertEquals(1, totals.duplicates());
        assertEquals(1, totals.redelivered());
        assertEquals(0, totals.outstanding());
    }

    @Test
    void anUncertainMessageIsNeverLostButMayArrive() {
        long seq = account.begin();
        account.uncertain();
        assertEquals(List.of(), account.missing(5));
        account.received(seq, false);
        Account.Totals totals = account.totals();
        assertEquals(1, totals.uncertain());
        assertEquals(1, totals.received());
        assertEquals(0, totals.outstanding());
        assertEquals(2, account.begin());
    }

    @Test
    void gapsLieBetweenAcknowledgementsAlsoWhenASendFailedMeanwhile() {
        acknowledge(100);
        account.begin();
        account.uncertain();
        acknowledge(900);
        assertEquals(List.of(new Account.Gap(100, 900)), account.gaps(0, 50));
        assertEquals(List.of(), account.gaps(0, 800));
        assertEquals(List.of(), account.gaps(901, 50));
        assertEquals(800, account.totals().longestGap());
    }

    @Test
    void aPauseOnPurposeIsNoGap() {
        acknowledge(100);
        account.pausedOnPurpose();
        acknowledge(9000);
        acknowledge(9020);
        assertEquals(List.of(new Account.Gap(9000, 9020)), account.gaps(0, 0));
        assertEquals(20, account.totals().longestGap());
    }

    @Test
    void theNewestAcknowledgementsAreKeptInOrder() {
        for (long at = 1; at <= 6; at++) {
            acknowledge(at * 10);
        }
        List<Long> seqs = account.acks(0, 10).stream().map(Account.Ack::seq).toList();
        assertEquals(List.of(3L, 4L, 5L, 6L), seqs);
        assertEquals(List.of(new Account.Ack(5, 49, 50)), account.acks(50, 1));
        assertEquals(List.of(), account.acks(61, 10));
        assertEquals(6, account.totals().acknowledged());
    }

    @Test
    void aDrainAwaitsTheLastArrival() throws InterruptedException {
        long seq = acknowledge(10);
        assertFalse(account.awaitDrained(20, 1));
        Thread consumer = new Thread(() -> account.received(seq, false));
        consumer.start();
        assertTrue(account.awaitDrained(10_000, 5));
        consumer.join();
    }

    @Test
    void aDrainAwaitsTheSendUnderWay() throws InterruptedException {
        long seq = account.begin();
        assertFalse(account.awaitDrained(20, 1));
        account.acknowledged(seq, 1, 2);
        account.received(seq, false);
        assertTrue(account.awaitDrained(10_000, 1));
    }
}
