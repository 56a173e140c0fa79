package org.tandem.client;

import java.nio.charset.StandardCharsets;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.eclipse.paho.client.mqttv3.MqttClient;
import org.eclipse.paho.client.mqttv3.MqttConnectOptions;
import org.eclipse.paho.client.mqttv3.MqttException;
import org.eclipse.paho.client.mqttv3.MqttSecurityException;
import org.eclipse.paho.client.mqttv3.persist.MemoryPersistence;

/** MQTT 3.1.1 by Paho; the destination is a topic. */
final class Mqtt implements Smoke.Protocol {
    @Override
    public void connect(Smoke.Endpoint endpoint) throws MqttException, Smoke.Refused {
        leave(open(endpoint));
    }

    @Override
    public void exchange(Smoke.Endpoint endpoint, String destination, String text)
            throws MqttException, Smoke.Refused, InterruptedException {
        MqttClient client = open(endpoint);
        String topic = destination.replace('.', '/');
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        CountDownLatch arrived = new CountDownLatch(1);
        try {
            client.subscribe(topic, 1, (name, message) -> {
                if (new String(message.getPayload(), StandardCharsets.UTF_8).equals(text)) {
                    arrived.countDown();
                }
            });
            client.publish(topic, body, 1, false);
            if (!arrived.await(endpoint.timeoutMillis(), TimeUnit.MILLISECONDS)) {
                throw new MqttException(MqttException.REASON_CODE_CLIENT_TIMEOUT);
            }
        } finally {
            leave(client);
        }
    }

    private static MqttClient open(Smoke.Endpoint endpoint) throws MqttException, Smoke.Refused {
        MqttConnectOptions options = new MqttConnectOptions();
        options.setConnectionTimeout(endpoint.timeoutMillis() / 1000);
        if (endpoint.user() != null) {
            options.setUserName(endpoint.user());
            options.setPassword(endpoint.password().toCharArray());
        }
        MqttClient client = new MqttClient("tcp://" + endpoint.host() + ":" + endpoint.port(),
                "smoke-" + UUID.randomUUID().toString().substring(0, 8), new MemoryPersistence());
        client.setTimeToWait(endpoint.timeoutMillis());
        try {
            client.connect(options);
        } catch (MqttSecurityException e) {
            throw new Smoke.Refused(e);
        }
        return client;
    }

    private static void leave(MqttClient client) throws MqttException {
        if (client.isConnected()) {
            client.disconnect();
        }
        client.close();
    }
}
