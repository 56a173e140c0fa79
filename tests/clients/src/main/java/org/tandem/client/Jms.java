package org.tandem.client;

import jakarta.jms.Connection;
import jakarta.jms.ConnectionFactory;
import jakarta.jms.JMSException;
import jakarta.jms.JMSSecurityException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import java.util.function.Function;

/** OpenWire and AMQP, by their JMS libraries. */
final class Jms implements Smoke.Protocol {
    private final Function<Smoke.Endpoint, ConnectionFactory> factory;

    Jms(Function<Smoke.Endpoint, ConnectionFactory> factory) {
        this.factory = factory;
    }

    @Override
    public void connect(Smoke.Endpoint endpoint) throws JMSException, Smoke.Refused {
        try (Connection connection = open(endpoint)) {
            connection.start();
        } catch (JMSException e) {
            throw explained(e);
        }
    }

    @Override
    public void exchange(Smoke.Endpoint endpoint, String destination, String text)
            throws JMSException, Smoke.Refused {
        try (Connection connection = open(endpoint)) {
            connection.start();
            Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
            Queue queue = session.createQueue(destination);
            MessageConsumer consumer = session.createConsumer(queue);
            session.createProducer(queue).send(session.createTextMessage(text));
            // What an earlier run left behind comes first.
            while (true) {
                Message message = consumer.receive(endpoint.timeoutMillis());
                if (message == null) {
                    throw new JMSException("sent, but not received in time");
                }
                if (message.isBodyAssignableTo(String.class) && text.equals(message.getBody(String.class))) {
                    return;
                }
            }
        } catch (JMSException e) {
            throw explained(e);
        }
    }

    private Connection open(Smoke.Endpoint endpoint) throws JMSException {
        ConnectionFactory connections = factory.apply(endpoint);
        return endpoint.user() == null
                ? connections.createConnection()
                : connections.createConnection(endpoint.user(), endpoint.password());
    }

    /** The libraries differ in what they wrap a refusal in. */
    private static JMSException explained(JMSException error) throws Smoke.Refused {
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            if (cause instanceof JMSSecurityException || cause instanceof SecurityException) {
                throw new Smoke.Refused(error);
            }
        }
        return error;
    }
}
