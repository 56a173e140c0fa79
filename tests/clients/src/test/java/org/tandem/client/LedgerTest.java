package org.tandem.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class LedgerTest {
    @Test
    void everySubscriberHasToGetEveryMessage() {
        Ledger ledger = new Ledger(1, 1, 2);
        ledger.acknowledge();
        ledger.receive(0, 0, 0);
        assertEquals(1, ledger.lost());
        assertFalse(ledger.complete());
        ledger.receive(1, 0, 0);
        assertTrue(ledger.complete());
    }

    @Test
    void aMessageThatComesTwiceStandsInForNoOther() {
        Ledger ledger = new Ledger(2, 1, 1);
        ledger.acknowledge();
        ledger.acknowledge();
        ledger.receive(0, 0, 0);
        ledger.receive(0, 0, 0);
        assertEquals(1, ledger.lost());
        assertEquals(1, ledger.duplicates());
        assertFalse(ledger.complete());
    }

    @Test
    void whatWasNotAcknowledgedKeepsItIncomplete() {
        Ledger ledger = new Ledger(1, 2, 1);
        ledger.acknowledge();
        ledger.receive(0, 0, 0);
        assertEquals(0, ledger.lost());
        assertFalse(ledger.complete());
    }
}
