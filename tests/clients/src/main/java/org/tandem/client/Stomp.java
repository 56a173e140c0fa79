package org.tandem.client;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

/** STOMP 1.2, as much of it as one message needs. */
final class Stomp implements Smoke.Protocol {
    /** A frame of the broker: its command and all behind it. */
    private record Frame(String command, String rest) {
    }

    @Override
    public void connect(Smoke.Endpoint endpoint) throws IOException, Smoke.Refused {
        try (Socket socket = new Socket()) {
            open(socket, endpoint);
        }
    }

    @Override
    public void exchange(Smoke.Endpoint endpoint, String destination, String text)
            throws IOException, Smoke.Refused {
        try (Socket socket = new Socket()) {
            InputStream input = open(socket, endpoint);
            String queue = "/queue/" + destination;
            send(socket, "SUBSCRIBE\nid:1\nack:auto\ndestination:" + queue + "\n\n");
            send(socket, "SEND\npersistent:true\nreceipt:sent\ndestination:" + queue + "\n\n" + text);
            boolean stored = false;
            boolean arrived = false;
            while (!stored || !arrived) {
                Frame frame = read(input);
                switch (frame.command()) {
                    case "RECEIPT" -> stored = true;
                    case "MESSAGE" -> arrived |= frame.rest().endsWith(text);
                    default -> throw new IOException(frame.command() + " " + frame.rest());
                }
            }
            send(socket, "DISCONNECT\n\n");
        }
    }

    private static InputStream open(Socket socket, Smoke.Endpoint endpoint)
            throws IOException, Smoke.Refused {
        socket.connect(new InetSocketAddress(endpoint.host(), endpoint.port()), endpoint.timeoutMillis());
        socket.setSoTimeout(endpoint.timeoutMillis());
        String credentials = endpoint.user() == null
                ? ""
                : "login:" + endpoint.user() + "\npasscode:" + endpoint.password() + "\n";
        send(socket, "CONNECT\naccept-version:1.2\nhost:" + endpoint.host() + "\n" + credentials + "\n");
        InputStream input = new BufferedInputStream(socket.getInputStream());
        Frame frame = read(input);
        if (frame.command().equals("ERROR")) {
            // Before a session exists there is nothing else that this well-formed frame can be
            // turned away for.
            throw new Smoke.Refused(frame.rest());
        }
        if (!frame.command().equals("CONNECTED")) {
            throw new IOException("expected CONNECTED, not " + frame.command());
        }
        return input;
    }

    private static void send(Socket socket, String frame) throws IOException {
        socket.getOutputStream().write((frame + "\0").getBytes(StandardCharsets.UTF_8));
    }

    private static Frame read(InputStream input) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (int next = input.read(); next != 0; next = input.read()) {
            if (next < 0) {
                throw new EOFException("the broker closed the connection");
            }
            // Between frames a broker may send line ends to show that it lives.
            if (bytes.size() > 0 || next != '\n' && next != '\r') {
                bytes.write(next);
            }
        }
        String text = bytes.toString(StandardCharsets.UTF_8);
        int end = text.indexOf('\n');
        return new Frame(text.substring(0, Math.max(end, 0)).strip(), text.substring(end + 1));
    }
}
