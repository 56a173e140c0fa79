package org.tandem.client;

/** The test client. */
public final class Main {
    private Main() {
    }

    /** Starts it. */
    public static void main(String[] args) {
        System.out.println("usage");
    }
}
