package org.tandem.client;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class JsonTest {
    @Test
    void writesWhatTheControlAnswers() {
        Object value = Json.object("a", 1L, "b", null, "c", "say \"x\"\n", "d", List.of(Map.of(), true));
        assertEquals("{\"a\":1,\"b\":null,\"c\":\"say \\\"x\\\"\\u000a\",\"d\":[{},true]}", Json.write(value));
    }
}
