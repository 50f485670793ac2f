import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.ResultSet;
import java.sql.RowIdLifetime;
import java.sql.SQLException;
import java.sql.Types;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** What tools ask of {@link DatabaseMetaData}. */
final class Metadata {
    private Metadata() {}

    /** Calls every method with arguments that fit, reads what it returns, and lists those that throw. */
    static Object callAll(DatabaseMetaData metadata) throws IllegalAccessException {
        var called = new ArrayList<String>();
        var thrown = new TreeMap<String, String>();
        for (Method method : DatabaseMetaData.class.getMethods()) {
            if (method.getDeclaringClass() != DatabaseMetaData.class) {
                continue;
            }
            String name = method.getName() + "/" + method.getParameterCount();
            called.add(name);
            try {
                Object found = method.invoke(metadata, arguments(method));
                if (found instanceof ResultSet rows) {
                    readAll(rows);
                }
            } catch (InvocationTargetException failure) {
                thrown.put(name, Main.messages(failure.getCause()));
            } catch (SQLException failure) {
                thrown.put(name, Main.messages(failure));
            }
        }
        return Map.of("called", called.size(), "thrown", thrown);
    }

    private static Object[] arguments(Method method) {
        Class<?>[] kinds = method.getParameterTypes();
        var found = new Object[kinds.length];
        int texts = 0;
        for (int place = 0; place < kinds.length; place++) {
            if (kinds[place] == String.class) {
                // Catalog, schema, and the name of a table.
                texts++;
                found[place] = texts % 3 == 0 ? "logs" : null;
            } else if (kinds[place] == int.class) {
                found[place] = number(method.getName());
            } else if (kinds[place] == boolean.class) {
                found[place] = false;
            }
        }
        return found;
    }

    private static int number(String method) {
        return switch (method) {
            case "supportsConvert" -> Types.VARCHAR;
            case "supportsTransactionIsolationLevel" -> Connection.TRANSACTION_NONE;
            default -> ResultSet.TYPE_FORWARD_ONLY;
        };
    }

    private static void readAll(ResultSet rows) throws SQLException {
        try (rows) {
            int columns = rows.getMetaData().getColumnCount();
            while (rows.next()) {
                for (int column = 1; column <= columns; column++) {
                    rows.getObject(column);
                    rows.getString(column);
                }
            }
        }
    }

    /** The calls of DBeaver, in its order, from the connection to the contents of every table. */
    static Object browse(Connection connection) throws SQLException {
        DatabaseMetaData metadata = connection.getMetaData();
        var found = new LinkedHashMap<String, Object>();
        found.put("product", metadata.getDatabaseProductName());
        found.put("quote", metadata.getIdentifierQuoteString());
        found.put("escape", metadata.getSearchStringEscape());
        found.put("keywords", metadata.getSQLKeywords());
        found.put("catalog term", metadata.getCatalogTerm());
        found.put("schema term", metadata.getSchemaTerm());
        found.put("catalogs", Operations.column(metadata.getCatalogs(), "TABLE_CAT"));
        found.put("types", Operations.column(metadata.getTableTypes(), "TABLE_TYPE"));
        found.put("rowid", metadata.getRowIdLifetime() == RowIdLifetime.ROWID_UNSUPPORTED);
        var schemas = new LinkedHashMap<String, Object>();
        found.put("schemas", schemas);
        for (List<String> schema : Operations.columns(metadata.getSchemas(), "TABLE_CATALOG", "TABLE_SCHEM")) {
            schemas.put(schema.get(1), tables(connection, schema.get(0), schema.get(1)));
        }
        return found;
    }

    private static Map<String, Object> tables(Connection connection, String catalog, String schema) throws SQLException {
        DatabaseMetaData metadata = connection.getMetaData();
        var tables = new LinkedHashMap<String, Object>();
        for (String table : Operations.column(metadata.getTables(catalog, schema, "%", null), "TABLE_NAME")) {
            List<List<String>> columns = Operations.columns(
                    metadata.getColumns(catalog, schema, table, "%"),
                    "COLUMN_NAME",
                    "TYPE_NAME",
                    "IS_NULLABLE",
                    "REMARKS");
            readAll(metadata.getPrimaryKeys(catalog, schema, table));
            readAll(metadata.getImportedKeys(catalog, schema, table));
            readAll(metadata.getExportedKeys(catalog, schema, table));
            readAll(metadata.getIndexInfo(catalog, schema, table, false, true));
            tables.put(table, Map.of("columns", columns, "rows", rows(connection, schema, table)));
        }
        return tables;
    }

    /** How many of the first 200 rows could be shown: each value as an object and as text. */
    private static int rows(Connection connection, String schema, String table) throws SQLException {
        String quote = connection.getMetaData().getIdentifierQuoteString();
        String name = quote + schema + quote + "." + quote + table + quote;
        try (var statement = connection.createStatement()) {
            statement.setMaxRows(200);
            var rows = statement.executeQuery("SELECT * FROM " + name);
            int count = 0;
            int columns = rows.getMetaData().getColumnCount();
            while (rows.next()) {
                for (int column = 1; column <= columns; column++) {
                    rows.getObject(column);
                    rows.getString(column);
                }
                count++;
            }
            return count;
        }
    }
}
