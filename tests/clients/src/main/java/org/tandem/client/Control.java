package org.tandem.client;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;

/** The client's control over HTTP: what it did, and what it is to do. */
final class Control {
    private static final int MOST_ACKS = 20_000;

    /** The answer to a request, of its query's parameters. */
    private interface Answer {
        Object to(Query query) throws InterruptedException;
    }

    private final HttpServer server;

    private Control(HttpServer server) {
        this.server = server;
    }

    /** Serves the client's control at this port. */
    static void serve(Client client, int port) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        // A drain takes its time, and others ask meanwhile.
        server.setExecutor(Executors.newCachedThreadPool(work -> {
            Thread thread = new Thread(work, "control");
            thread.setDaemon(true);
            return thread;
        }));
        Control control = new Control(server);
        server.createContext("/", exchange ->
                reply(exchange, 404, Json.object("error", "no such path")));
        control.answer("GET", "/healthz", query -> Map.of("ok", true));
        control.answer("GET", "/stats", query -> client.stats());
        control.answer("GET", "/acks", query -> acks(client, query));
        control.answer("GET", "/gaps", query -> gaps(client, query));
        control.answer("POST", "/produce/start", query -> switched(client, () -> client.produce(true)));
        control.answer("POST", "/produce/stop", query -> switched(client, () -> client.produce(false)));
        control.answer("POST", "/consume/start", query -> switched(client, () -> client.consume(true)));
        control.answer("POST", "/consume/stop", query -> switched(client, () -> client.consume(false)));
        control.answer("POST", "/drain", query -> client.drain(query.number("timeoutSeconds", 60)));
        server.start();
    }

    private static List<Map<String, Object>> acks(Client client, Query query) {
        return client.account().acks(query.number("since", 0), MOST_ACKS).stream()
                .map(ack -> Json.object("seq", ack.seq(), "start", ack.start(), "ack", ack.ack()))
                .toList();
    }

    private static List<Map<String, Object>> gaps(Client client, Query query) {
        return client.account().gaps(query.number("since", 0), query.number("min", 0)).stream()
                .map(gap -> Json.object("from", gap.from(), "to", gap.to(), "millis", gap.millis()))
                .toList();
    }

    private static Map<String, Object> switched(Client client, Runnable change) {
        change.run();
        return client.stats();
    }

    private void answer(String method, String path, Answer answer) {
        server.createContext(path, exchange -> {
            if (!exchange.getRequestURI().getPath().equals(path)) {
                reply(exchange, 404, Json.object("error", "no such path"));
            } else if (!exchange.getRequestMethod().equals(method)) {
                reply(exchange, 405, Json.object("error", "use " + method));
            } else {
                attempt(exchange, answer);
            }
        });
    }

    private static void attempt(HttpExchange exchange, Answer answer) throws IOException {
        try {
            reply(exchange, 200, answer.to(new Query(exchange.getRequestURI().getQuery())));
        } catch (NumberFormatException e) {
            reply(exchange, 400, Json.object("error", "not a whole number: " + e.getMessage()));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static void reply(HttpExchange exchange, int status, Object answer) throws IOException {
        byte[] body = (Json.write(answer) + "\n").getBytes(StandardCharsets.UTF_8);
        try (exchange) {
            // A body left unread would cost the caller its connection.
            exchange.getRequestBody().readAllBytes();
            exchange.getResponseHeaders().set("Content-Type", "application/json");
            exchange.sendResponseHeaders(status, body.length);
            exchange.getResponseBody().write(body);
        }
    }

    /** The parameters of a request; all of them are numbers. */
    private record Query(String text) {
        long number(String name, long otherwise) {
            for (String pair : text == null ? new String[0] : text.split("&")) {
                if (pair.startsWith(name + "=")) {
                    return Long.parseLong(pair.substring(name.length() + 1));
                }
            }
            return otherwise;
        }
    }
}
