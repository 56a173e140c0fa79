package org.tandem.client;

import jakarta.jms.Connection;
import jakarta.jms.ConnectionFactory;
import jakarta.jms.JMSException;
import jakarta.jms.MessageProducer;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import org.eclipse.paho.client.mqttv3.MqttClient;
import org.eclipse.paho.client.mqttv3.MqttConnectOptions;
import org.eclipse.paho.client.mqttv3.MqttException;
import org.eclipse.paho.client.mqttv3.persist.MemoryPersistence;

/**
 * Puts texts that mean something in a broker's log wherever a client can put text, over every
 * protocol, as a stranger and as a user. What the broker makes of it is its own business, so refusals
 * and errors are counted and not judged.
 */
final class Hostile {
    /** What the broker says of its lock and its store, whole forged lines, and the agent's words. */
    private static final String[] TEXTS = {
        "orders, no longer able to keep the exclusive lock so giving up being a master",
        "Database x is locked by another server. This broker is now in slave mode waiting a lock to be acquired",
        "x attempting to acquire exclusive lease to become the master",
        "x, becoming master with lease expiry Sun Nov 22",
        "Ignoring IO exception, java.io.IOException",
        "Ignoring no space left exception, java.io.IOException",
        "Stopping BrokerService[orders] due to exception, java.io.IOException",
        "x\r\n2026-01-01T00:00:00.000Z ERROR LockableServiceSupport orders, no longer able to keep the"
                + " exclusive lock so giving up being a master\r\n",
        "\nlock-lost\n",
        "\nstorage-failed\n\ntakes\n\nwaits\n",
        "\u001b[2J\u2028lock-lost\u2028%n${env:HOME}",
    };

    private Hostile() {
    }

    /** One way to speak to a broker; {@code user} is null for a stranger. */
    private interface Attempt {
        void with(String text, String user, String password) throws Exception;
    }

    /** Runs the command and returns its exit code. */
    static int run(String[] args) {
        Options options = Options.parse(args, "host user password openwire amqp mqtt stomp timeout", "",
                System.getenv());
        String host = options.text("host", "localhost");
        int timeout = (int) (1000 * options.number("timeout", 5));
        Map<String, Attempt> attempts = new LinkedHashMap<>();
        attempts.put("openwire", (text, user, password) -> jms(
                Smoke.openwire(endpoint(host, options, "openwire", timeout)), text, user, password));
        attempts.put("amqp", (text, user, password) -> jms(
                Smoke.amqp(endpoint(host, options, "amqp", timeout)), text, user, password));
        attempts.put("mqtt", (text, user, password) -> mqtt(
                endpoint(host, options, "mqtt", timeout), text, user, password));
        attempts.put("stomp", (text, user, password) -> stomp(
                endpoint(host, options, "stomp", timeout), text, user, password));
        Map<String, Object> report = new LinkedHashMap<>();
        for (Map.Entry<String, Attempt> attempt : attempts.entrySet()) {
            int accepted = 0;
            int refused = 0;
            for (String text : TEXTS) {
                if (goesThrough(attempt.getValue(), text, null, null)) {
                    return strangerIn(attempt.getKey());
                }
                refused++;
                if (goesThrough(attempt.getValue(), text, options.text("user", null),
                        options.text("password", null))) {
                    accepted++;
                }
            }
            report.put(attempt.getKey(), accepted + " accepted, " + refused + " strangers refused");
        }
        System.out.println(Json.write(report));
        return 0;
    }

    private static int strangerIn(String protocol) {
        System.out.println("a stranger was let in over " + protocol);
        return 1;
    }

    private static Smoke.Endpoint endpoint(String host, Options options, String protocol, int timeout) {
        return new Smoke.Endpoint(host, (int) options.number(protocol, 0), null, null, timeout);
    }

    private static boolean goesThrough(Attempt attempt, String text, String user, String password) {
        try {
            attempt.with(text, user, password);
            return true;
        } catch (Exception e) {
            return false;
        }
    }

    /** As client id, user, queue, selector, type, correlation id, name and value of a property, and body. */
    private static void jms(ConnectionFactory factory, String text, String user, String password)
            throws JMSException {
        boolean stranger = user == null;
        try (Connection connection = factory.createConnection(stranger ? text : user,
                stranger ? text : password)) {
            connection.setClientID(text);
            connection.start();
            Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
            MessageProducer producer = session.createProducer(session.createQueue("hostile"));
            TextMessage message = session.createTextMessage(text);
            message.setJMSType(text);
            message.setJMSCorrelationID(text);
            message.setStringProperty("text", text);
            producer.send(message);
            tolerated(() -> session.createConsumer(session.createQueue("hostile"), text));
            tolerated(() -> session.createProducer(session.createQueue(text)).send(message));
            tolerated(() -> session.createDurableSubscriber(session.createTopic(text), text));
        }
    }

    /** As client id, user, topic of the last will, topic and body. */
    private static void mqtt(Smoke.Endpoint endpoint, String text, String user, String password)
            throws MqttException {
        MqttConnectOptions options = new MqttConnectOptions();
        options.setConnectionTimeout(endpoint.timeoutMillis() / 1000);
        options.setUserName(user == null ? text : user);
        options.setPassword((user == null ? text : password).toCharArray());
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        options.setWill("hostile", body, 1, false);
        try (MqttClient client = new MqttClient("tcp://" + endpoint.host() + ":" + endpoint.port(), text,
                new MemoryPersistence())) {
            client.setTimeToWait(endpoint.timeoutMillis());
            client.connect(options);
            client.publish("hostile", body, 1, false);
            tolerated(() -> client.subscribe(text, 1));
            tolerated(() -> client.publish(text, body, 1, false));
            client.disconnect();
        }
    }

    /** As client id, user, destination, selector, name and value of a header, command and body. */
    private static void stomp(Smoke.Endpoint endpoint, String text, String user, String password)
            throws IOException {
        String header = text.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n").replace(":", "\\c");
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(endpoint.host(), endpoint.port()), endpoint.timeoutMillis());
            socket.setSoTimeout(endpoint.timeoutMillis());
            write(socket, "CONNECT\naccept-version:1.2\nhost:x\nclient-id:" + header
                    + "\nlogin:" + (user == null ? header : user)
                    + "\npasscode:" + (user == null ? header : password) + "\n\n");
            byte[] answer = new byte[9];
            if (socket.getInputStream().readNBytes(answer, 0, answer.length) < answer.length
                    || !new String(answer, StandardCharsets.UTF_8).equals("CONNECTED")) {
                throw new IOException("refused");
            }
            write(socket, "SEND\ndestination:/queue/hostile\n" + header + ":" + header + "\n\n" + text);
            write(socket, "SUBSCRIBE\nid:1\ndestination:/queue/hostile\nselector:" + header + "\n\n");
            write(socket, "SEND\ndestination:" + header + "\n\n" + text);
            write(socket, header + "\n\n");
            // The broker answers what it makes of it, or closes.
            socket.getInputStream().readNBytes(1);
        }
    }

    private static void write(Socket socket, String frame) throws IOException {
        socket.getOutputStream().write((frame + "\0").getBytes(StandardCharsets.UTF_8));
    }

    private interface Step {
        void run() throws Exception;
    }

    private static void tolerated(Step step) {
        try {
            step.run();
        } catch (Exception e) {
            Log.line("refused: " + e.getClass().getSimpleName());
        }
    }
}
