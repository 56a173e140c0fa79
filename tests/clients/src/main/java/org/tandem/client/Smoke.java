package org.tandem.client;

import jakarta.jms.ConnectionFactory;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.activemq.ActiveMQConnectionFactory;
import org.apache.qpid.jms.JmsConnectionFactory;

/** Sends and receives one message over every protocol, or sees that strangers are turned away. */
final class Smoke {
    /** Where a protocol is served, and as whom to speak it; no user means no credentials at all. */
    record Endpoint(String host, int port, String user, String password, int timeoutMillis) {
    }

    /** The broker does not let this user in. */
    static final class Refused extends Exception {
        private static final long serialVersionUID = 1;

        Refused(Throwable cause) {
            super(cause);
        }

        Refused(String message) {
            super(message);
        }
    }

    /** One protocol. Whatever is thrown, other than {@link Refused}, is a failure. */
    interface Protocol {
        /** Connects and leaves again. */
        void connect(Endpoint endpoint) throws Exception;

        /** Sends a message with this text to the destination and receives it from there. */
        void exchange(Endpoint endpoint, String destination, String text) throws Exception;
    }

    private static final String HELP = """
            Sends and receives one message over every protocol: {"openwire": "ok", "amqp": ...}.

              --host NAME        the brokers' address (default localhost)
              --user, --password credentials (better as TANDEM_USER and TANDEM_PASSWORD)
              --openwire, --amqp, --mqtt, --stomp PORT
                                 (default 61616, 5672, 1883, 61613; 0 leaves one out)
              --queue NAME       (default tandem.smoke, and the protocol's name behind it)
              --timeout SECONDS  for each protocol (default 20)
              --anonymous        connect without credentials instead; it is well ("refused") when
                                 every protocol turns the connection away for that

            The exit code is 0 if all is well, else 1.
            """;

    private Smoke() {
    }

    /** Runs the command and returns its exit code. */
    static int run(String[] args) {
        if (Arrays.asList(args).contains("--help")) {
            System.out.print(HELP);
            return 0;
        }
        Options options = Options.parse(args, "host user password openwire amqp mqtt stomp queue timeout",
                "anonymous", System.getenv());
        Map<String, Object> report = new LinkedHashMap<>();
        boolean anonymous = options.on("anonymous", false);
        boolean well = true;
        for (Map.Entry<String, Integer> port : ports(options).entrySet()) {
            if (port.getValue() != 0) {
                String outcome = check(port.getKey(), port.getValue(), options, anonymous);
                report.put(port.getKey(), outcome);
                well &= outcome.equals(anonymous ? "refused" : "ok");
            }
        }
        System.out.println(Json.write(report));
        return well ? 0 : 1;
    }

    private static Map<String, Integer> ports(Options options) {
        Map<String, Integer> ports = new LinkedHashMap<>();
        ports.put("openwire", (int) options.number("openwire", 61616));
        ports.put("amqp", (int) options.number("amqp", 5672));
        ports.put("mqtt", (int) options.number("mqtt", 1883));
        ports.put("stomp", (int) options.number("stomp", 61613));
        return ports;
    }

    private static Protocol protocol(String name) {
        return switch (name) {
            case "openwire" -> new Jms(endpoint -> openwire(endpoint));
            case "amqp" -> new Jms(endpoint -> amqp(endpoint));
            case "mqtt" -> new Mqtt();
            default -> new Stomp();
        };
    }

    static ConnectionFactory openwire(Endpoint endpoint) {
        return new ActiveMQConnectionFactory("tcp://" + endpoint.host() + ":" + endpoint.port()
                + "?connectionTimeout=" + endpoint.timeoutMillis());
    }

    static ConnectionFactory amqp(Endpoint endpoint) {
        // Its network library otherwise uses what newer JDKs print warnings about.
        System.setProperty("io.netty.noUnsafe", "true");
        return new JmsConnectionFactory("amqp://" + endpoint.host() + ":" + endpoint.port()
                + "?transport.useEpoll=false&jms.connectTimeout=" + endpoint.timeoutMillis()
                + "&jms.requestTimeout=" + endpoint.timeoutMillis());
    }

    private static String check(String name, int port, Options options, boolean anonymous) {
        long timeout = TimeUnit.SECONDS.toMillis(options.number("timeout", 20));
        Endpoint endpoint = new Endpoint(options.text("host", "localhost"), port,
                anonymous ? null : options.text("user", null),
                anonymous ? null : options.text("password", null), (int) timeout);
        String destination = options.text("queue", "tandem.smoke") + "." + name;
        FutureTask<String> task = new FutureTask<>(() -> {
            if (anonymous) {
                protocol(name).connect(endpoint);
                return "accepted";
            }
            protocol(name).exchange(endpoint, destination, "smoke " + UUID.randomUUID());
            return "ok";
        });
        // The libraries' own deadlines do not cover every wait.
        Thread thread = new Thread(task, name);
        thread.setDaemon(true);
        thread.start();
        return outcome(task, timeout + 1000);
    }

    private static String outcome(FutureTask<String> task, long timeoutMillis) {
        try {
            return task.get(timeoutMillis, TimeUnit.MILLISECONDS);
        } catch (TimeoutException e) {
            return "no answer in time";
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return "interrupted";
        } catch (ExecutionException e) {
            return e.getCause() instanceof Refused ? "refused" : e.getCause().toString();
        }
    }
}
