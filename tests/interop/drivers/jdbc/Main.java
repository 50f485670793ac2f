import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

import org.apache.arrow.driver.jdbc.shaded.com.fasterxml.jackson.databind.JsonNode;
import org.apache.arrow.driver.jdbc.shaded.com.fasterxml.jackson.databind.ObjectMapper;

/** The driver of ../README.md for JDBC. The JSON library is the one that the JDBC driver brings along. */
public final class Main {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Main() {}

    public static void main(String[] arguments) throws Exception {
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var output = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        Operations operations = null;
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            JsonNode request = JSON.readTree(line);
            Object answer;
            if (request.path("operation").asText().equals("open")) {
                operations = new Operations(request);
                answer = Map.of("value", Map.of("version", operations.version(), "operations", Operations.NAMES));
            } else {
                answer = answer(operations, request);
            }
            output.println(JSON.writeValueAsString(answer));
        }
        // Threads of the driver may still run.
        System.exit(0);
    }

    private static Map<String, Object> answer(Operations operations, JsonNode request) {
        try {
            return value(operations.run(request));
        } catch (NotOffered missing) {
            return Map.of();
        } catch (Exception | LinkageError | AssertionError failure) {
            return Map.of("error", messages(failure));
        }
    }

    /** `Map.of` takes no null. */
    private static Map<String, Object> value(Object value) {
        var answer = new java.util.HashMap<String, Object>();
        answer.put("value", value);
        return answer;
    }

    /** What a user sees of a failure: the messages of the exception and of what caused it. */
    static String messages(Throwable failure) {
        var text = new StringBuilder();
        for (Throwable each = failure; each != null; each = each.getCause()) {
            text.append(text.isEmpty() ? "" : ": ").append(each);
        }
        return text.toString();
    }

    /** The client has no call for this. */
    static final class NotOffered extends Exception {
        private static final long serialVersionUID = 1;
    }

    /** For lists that are made of constants. */
    static List<String> words(String text) {
        return List.of(text.split(" "));
    }
}
