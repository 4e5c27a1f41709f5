// java.net.http of the JDK.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** Runs the cases and prints each result as one line, as `cases.py` does. */
public class Client {
    interface Case {
        String run(String base) throws Exception;
    }

    static HttpResponse<String> get(String base, String path) throws Exception {
        // docs
        HttpClient client = HttpClient.newHttpClient();
        HttpRequest request = HttpRequest.newBuilder(URI.create(base + path)).build();
        HttpResponse<String> response = client.send(request, BodyHandlers.ofString());
        if (response.statusCode() >= 400) throw new Exception(response.statusCode() + ": " + response.body());
        // end
        return response;
    }

    static String words(String pattern, String text) {
        return Pattern.compile(pattern).matcher(text).results().map(MatchResult::group).collect(Collectors.joining(" "));
    }

    static String request(String base) throws Exception {
        return words("(?<=\"answer\": \")\\w+", get(base, "/item").body());
    }

    static String stream(String base) throws Exception {
        return words("(?<=data: )\\w+", get(base, "/events").body()).replaceAll(" end$", "");
    }

    static String upload(String base) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(base + "/upload")).POST(BodyPublishers.ofByteArray(new byte[100_000])).build();
        return words("\\d+", HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).body());
    }

    static void run(String name, Case action) {
        String how = "returned";
        String text;
        try {
            text = action.run(System.getenv("BASE") + "/" + name);
        } catch (Exception error) {
            how = "raised";
            text = error.toString();
        }
        System.out.println(String.join("\t", "case", name, how, text.strip().replaceAll("\\s+", " ")));
    }

    public static void main(String[] arguments) {
        run("request", Client::request);
        run("stream", Client::stream);
        run("upload", Client::upload);
        for (String name : new String[] {"forbidden", "large", "limited", "unavailable"}) run(name, Client::request);
        run("cut", Client::stream);
    }
}
