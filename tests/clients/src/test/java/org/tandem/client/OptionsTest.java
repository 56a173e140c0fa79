package org.tandem.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import org.junit.jupiter.api.Test;

class OptionsTest {
    private static Options parse(Map<String, String> environment, String... args) {
        return Options.parse(args, "url rate", "produce", environment);
    }

    @Test
    void flagsComeInTwoFormsAndGoBeforeTheEnvironment() {
        Options options = parse(Map.of("TANDEM_RATE", "1", "TANDEM_URL", "x"), "--rate=2", "--no-produce");
        assertEquals(2, options.number("rate", 3));
        assertEquals("x", options.text("url", null));
        assertFalse(options.on("produce", true));
        assertTrue(parse(Map.of(), "--produce").on("produce", false));
    }

    @Test
    void mistakesAreNamed() {
        assertThrows(Options.Mistake.class, () -> parse(Map.of(), "--wrong", "1"));
        assertThrows(Options.Mistake.class, () -> parse(Map.of(), "--rate"));
        assertThrows(Options.Mistake.class, () -> parse(Map.of(), "--rate", "fast").number("rate", 1));
    }
}
