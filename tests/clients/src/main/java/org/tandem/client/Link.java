package org.tandem.client;

import jakarta.jms.JMSException;
import java.io.IOException;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQConnectionFactory;
import org.apache.activemq.command.BrokerInfo;
import org.apache.activemq.transport.TransportListener;

/** One connection that outlives its transports, and the count of times it lost one. */
final class Link implements AutoCloseable {
    /** Where and as whom to connect. */
    record Target(String url, String user, String password) {
    }

    private final ActiveMQConnection connection;

    /** Connects; with a {@code failover:} URL that lasts until a broker is there. */
    Link(Target target, String role, AtomicLong interruptions) throws JMSException {
        ActiveMQConnectionFactory factory = new ActiveMQConnectionFactory(target.url());
        factory.setAlwaysSyncSend(true);
        // The library would hide a message that a broker delivers twice; here each is counted.
        if (!target.url().contains("checkForDuplicates")) {
            factory.setCheckForDuplicates(false);
        }
        connection = (ActiveMQConnection) factory.createConnection(target.user(), target.password());
        connection.addTransportListener(new Listener(role, interruptions));
        try {
            connection.start();
        } catch (JMSException e) {
            close();
            throw e;
        }
    }

    ActiveMQConnection connection() {
        return connection;
    }

    /** The address of the broker's end, or null while there is none. */
    String address() {
        return connection.getTransport().getRemoteAddress();
    }

    /** The broker's name for itself, or null while it is not known. */
    String broker() {
        BrokerInfo info = connection.getBrokerInfo();
        return info == null ? null : info.getBrokerName();
    }

    @Override
    public void close() {
        try {
            connection.close();
        } catch (JMSException e) {
            Log.line("closing a connection: " + e.getMessage());
        }
    }

    private final class Listener implements TransportListener {
        private final String role;
        private final AtomicLong interruptions;

        Listener(String role, AtomicLong interruptions) {
            this.role = role;
            this.interruptions = interruptions;
        }

        @Override
        public void onCommand(Object command) {
        }

        @Override
        public void onException(IOException error) {
            interruptions.incrementAndGet();
            Log.line(role + " connection lost for good: " + error);
        }

        @Override
        public void transportInterupted() {
            interruptions.incrementAndGet();
            Log.line(role + " transport interrupted");
        }

        @Override
        public void transportResumed() {
            Log.line(role + " transport resumed at " + address());
        }
    }
}
