package org.tandem.client;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** The test clients' entry: by default the account of messages, else {@code smoke}, {@code flow} or {@code hostile}. */
public final class Main {
    private static final List<String> COMMANDS = List.of("smoke", "flow");
    private static final long SUMMARY_SECONDS = 5;
    private static final String HELP = """
            Sends numbered messages to a queue, takes them from it again, and accounts for every one.

              --url URL          the broker's address, for example
                                 failover:(tcp://a:61616,tcp://b:61616)?maxReconnectDelay=1000
              --user, --password credentials (better as TANDEM_USER and TANDEM_PASSWORD)
              --id NAME          the client's name (default: the host's)
              --queue NAME       the queue (default: tandem.<id>); one for each client
              --rate N           messages a second (default 50), each sent after the
                                 acknowledgement of the one before
              --size N           bytes in a message (default 100)
              --no-produce       do not send until told to
              --no-consume       do not receive until told to
              --port N           the control's HTTP port (default 8080)

            Each flag may be given as TANDEM_<FLAG> in the environment instead. Control, in JSON:

              GET  /healthz
              GET  /stats                       the account
              GET  /acks?since=MS               acknowledged sends, 20000 at most, oldest first
              GET  /gaps?since=MS&min=MS        times without an acknowledgement
              POST /produce/stop, /produce/start, /consume/stop, /consume/start
              POST /drain?timeoutSeconds=60     stop producing, await what was acknowledged,
                                                report what is missing

            Other commands; the first two with a --help of their own:
              smoke              one message over every protocol
              flow               many messages, as fast as they go
              hostile            what brokers log of themselves, as text of clients; takes the flags of smoke
            """;

    private Main() {
    }

    /** Runs the client until it is told to end. */
    public static void main(String[] args) throws IOException, InterruptedException {
        if (Arrays.asList(args).contains("--help") && !COMMANDS.contains(args[0])) {
            System.out.print(HELP);
            return;
        }
        try {
            if (args.length > 0 && args[0].equals("smoke")) {
                System.exit(Smoke.run(Arrays.copyOfRange(args, 1, args.length)));
            }
            if (args.length > 0 && args[0].equals("flow")) {
                System.exit(Flow.run(Arrays.copyOfRange(args, 1, args.length)));
            }
            if (args.length > 0 && args[0].equals("hostile")) {
                System.exit(Hostile.run(Arrays.copyOfRange(args, 1, args.length)));
            }
            run(Options.parse(args, "url user password id queue rate size port", "produce consume",
                    System.getenv()));
        } catch (Options.Mistake e) {
            System.err.println(e.getMessage() + " (see --help)");
            System.exit(2);
        }
    }

    private static void run(Options options) throws IOException, InterruptedException {
        Client client = new Client(options);
        Control.serve(client, (int) options.number("port", 8080));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            Map<String, Object> account = client.stats();
            account.put("final", true);
            System.out.println(Json.write(account));
            System.out.flush();
            // Ended by a signal the JVM would report that signal, and wait for blocked sends.
            Runtime.getRuntime().halt(0);
        }, "final account"));
        client.start();
        CountDownLatch never = new CountDownLatch(1);
        while (!never.await(SUMMARY_SECONDS, TimeUnit.SECONDS)) {
            Log.line("account " + Json.write(client.stats()));
        }
    }
}
