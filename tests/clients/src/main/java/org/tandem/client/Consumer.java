package org.tandem.client;

import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.Session;

/**
 * Enters every message into the account, then acknowledges it. An acknowledgement that is lost
 * makes the broker deliver again, which counts as a duplicate; a message is never taken from the
 * broker without being in the account.
 */
final class Consumer extends Worker {
    /** How soon a closed gate is noticed while nothing arrives. */
    private static final long LONGEST_WAIT_MILLIS = 500;

    private final Account account;
    private final String queue;
    private final String run;

    Consumer(Link.Target target, Account account, String queue, String run, boolean wanted) {
        super(target, "consumer", wanted);
        this.account = account;
        this.queue = queue;
        this.run = run;
    }

    @Override
    void work(Link link) throws JMSException {
        Session session = link.connection().createSession(false, Session.CLIENT_ACKNOWLEDGE);
        MessageConsumer consumer = session.createConsumer(session.createQueue(queue));
        while (gate.isOpen()) {
            Message message = consumer.receive(LONGEST_WAIT_MILLIS);
            if (message != null) {
                enter(message);
                message.acknowledge();
                progress();
            } else if (link.connection().isTransportFailed()) {
                throw new JMSException("the connection is gone");
            }
        }
    }

    private void enter(Message message) throws JMSException {
        if (run.equals(message.getStringProperty(Producer.RUN))) {
            account.received(message.getLongProperty(Producer.SEQUENCE), message.getJMSRedelivered());
        } else {
            account.receivedForeign();
        }
    }
}
