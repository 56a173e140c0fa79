package org.tandem.client;

import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;

/** Lines on standard output, each with its time to the millisecond. */
final class Log {
    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);

    private Log() {
    }

    static void line(String text) {
        System.out.println(TIME.format(Instant.now()) + " " + text);
    }
}
