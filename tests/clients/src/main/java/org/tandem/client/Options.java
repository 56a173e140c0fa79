package org.tandem.client;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;

/** Flags, with environment variables behind them: {@code --max-x} is {@code TANDEM_MAX_X}. */
final class Options {
    /** A mistake on the command line, to be shown with a hint at {@code --help}. */
    static final class Mistake extends RuntimeException {
        private static final long serialVersionUID = 1;

        Mistake(String message) {
            super(message);
        }
    }

    private final Map<String, String> flags = new HashMap<>();
    private final Map<String, String> environment;

    private Options(Map<String, String> environment) {
        this.environment = environment;
    }

    /**
     * Reads {@code --name value}, {@code --name=value}, and for the names in {@code switches}
     * {@code --name} and {@code --no-name}.
     */
    static Options parse(String[] args, String names, String switches, Map<String, String> environment) {
        Options options = new Options(environment);
        for (int i = 0; i < args.length; i++) {
            if (!args[i].startsWith("--")) {
                throw new Mistake("unexpected argument: " + args[i]);
            }
            String flag = args[i].substring(2);
            int equals = flag.indexOf('=');
            String name = equals < 0 ? flag : flag.substring(0, equals);
            if (isOneOf(name, switches) && equals < 0) {
                options.flags.put(name, "true");
            } else if (name.startsWith("no-") && isOneOf(name.substring(3), switches)) {
                options.flags.put(name.substring(3), "false");
            } else if (!isOneOf(name, names) && !isOneOf(name, switches)) {
                throw new Mistake("unknown flag: --" + name);
            } else if (equals >= 0) {
                options.flags.put(name, flag.substring(equals + 1));
            } else if (++i < args.length) {
                options.flags.put(name, args[i]);
            } else {
                throw new Mistake("--" + name + " needs a value");
            }
        }
        return options;
    }

    private static boolean isOneOf(String name, String names) {
        return (" " + names + " ").contains(" " + name + " ");
    }

    /** The value, or the default where there is none or an empty one. */
    String text(String name, String otherwise) {
        String variable = "TANDEM_" + name.toUpperCase(Locale.ROOT).replace('-', '_');
        String value = flags.getOrDefault(name, environment.get(variable));
        return value == null || value.isEmpty() ? otherwise : value;
    }

    long number(String name, long otherwise) {
        String value = text(name, Long.toString(otherwise));
        try {
            return Long.parseLong(value);
        } catch (NumberFormatException e) {
            throw new Mistake("--" + name + " needs a whole number, not " + value);
        }
    }

    double decimal(String name, double otherwise) {
        String value = text(name, Double.toString(otherwise));
        try {
            return Double.parseDouble(value);
        } catch (NumberFormatException e) {
            throw new Mistake("--" + name + " needs a number, not " + value);
        }
    }

    boolean on(String name, boolean otherwise) {
        return Boolean.parseBoolean(text(name, Boolean.toString(otherwise)));
    }

    /** The name of this machine, in a pod the pod's. */
    static String hostname() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException e) {
            return "client";
        }
    }
}
