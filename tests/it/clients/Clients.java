import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/** Java's HTTP clients against the address in the first argument: a pixel, a rejected one, and a kept connection. */
public class Clients {
    static final String PIXEL = "{\"x\":10,\"y\":20,\"channel\":\"R\",\"value\":255}";
    static final String WRONG = PIXEL.replace("255", "256");
    static final String OK = "200 {\"status\":\"ok\",\"received\":" + PIXEL + "}";
    static final String REJECTED = "422 {\"error\":\"value must be between 0 and 255\"}";
    static final String[][] SEQUENCE = {{PIXEL, OK}, {WRONG, REJECTED}, {PIXEL, OK}};

    public static void main(String[] arguments) throws Exception {
        String url = "http://" + arguments[0] + "/pixel";
        // HTTP_2 asks for h2c with an Upgrade field, which a server may ignore.
        for (HttpClient.Version version : HttpClient.Version.values()) {
            HttpClient client = HttpClient.newBuilder().version(version).build();
            for (boolean expect : new boolean[] {false, true}) {
                for (String[] pair : SEQUENCE) {
                    HttpRequest request = HttpRequest.newBuilder(URI.create(url))
                            .timeout(Duration.ofSeconds(10))
                            .header("Content-Type", "application/json")
                            .expectContinue(expect)
                            .POST(HttpRequest.BodyPublishers.ofString(pair[0]))
                            .build();
                    var response = client.send(request, BodyHandlers.ofString());
                    same(version + " expect " + expect, response.statusCode() + " " + response.body(), pair[1]);
                }
            }
        }
        for (String[] pair : SEQUENCE) {
            HttpURLConnection connection = (HttpURLConnection) new URL(url).openConnection();
            connection.setReadTimeout(10_000);
            connection.setRequestProperty("Content-Type", "application/json");
            connection.setDoOutput(true);
            connection.getOutputStream().write(pair[0].getBytes(StandardCharsets.UTF_8));
            int status = connection.getResponseCode();
            var body = status < 400 ? connection.getInputStream() : connection.getErrorStream();
            same("HttpURLConnection", status + " " + new String(body.readAllBytes(), StandardCharsets.UTF_8), pair[1]);
        }
    }

    static void same(String client, String found, String wanted) {
        if (!found.equals(wanted)) {
            throw new AssertionError(client + ": " + found + " instead of " + wanted);
        }
    }
}
