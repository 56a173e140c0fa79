package org.tandem.client;

import jakarta.jms.BytesMessage;
import jakarta.jms.DeliveryMode;
import jakarta.jms.JMSException;
import jakarta.jms.MessageProducer;
import jakarta.jms.Session;

/** Sends numbered persistent messages at a steady rate, each after the broker's acknowledgement. */
final class Producer extends Worker {
    static final String RUN = "tandemRun";
    static final String SEQUENCE = "tandemSequence";

    private final Account account;
    private final String queue;
    private final String run;
    private final long periodNanos;
    private final byte[] body;

    Producer(Link.Target target, Account account, String queue, String run, double rate, int size,
            boolean wanted) {
        super(target, "producer", wanted);
        this.account = account;
        this.queue = queue;
        this.run = run;
        this.periodNanos = (long) (1e9 / rate);
        this.body = new byte[size];
    }

    @Override
    void work(Link link) throws JMSException, InterruptedException {
        Session session = link.connection().createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageProducer producer = session.createProducer(session.createQueue(queue));
        producer.setDeliveryMode(DeliveryMode.PERSISTENT);
        long due = System.nanoTime();
        while (gate.isOpen()) {
            send(session, producer);
            // After an outage the rate goes on; what was missed is not made up for in a burst.
            due = Math.max(due + periodNanos, System.nanoTime() - periodNanos);
            gate.pauseUntil(due);
        }
    }

    @Override
    void rest() {
        account.pausedOnPurpose();
    }

    private void send(Session session, MessageProducer producer) throws JMSException {
        BytesMessage message = session.createBytesMessage();
        message.writeBytes(body);
        message.setStringProperty(RUN, run);
        long seq = account.begin();
        message.setLongProperty(SEQUENCE, seq);
        long start = System.currentTimeMillis();
        boolean acknowledged = false;
        try {
            producer.send(message);
            acknowledged = true;
        } finally {
            if (acknowledged) {
                account.acknowledged(seq, start, System.currentTimeMillis());
                progress();
            } else {
                account.uncertain();
            }
        }
    }
}
