# Samples (row, unit, variant, round, value) -> a table of medians, and the same as a file.
# A ratio above 1 is in shunt's favour towards the kernel; towards the floor it says how many times the floor.

BEGIN { FS = OFS = "\t" }

{
    if (!($1 in unit)) { rows[++row_count] = $1; unit[$1] = $2 }
    samples[$1, $3, ++count[$1, $3]] = $5
}

function median(row, variant,    n, i, j, swap, sorted) {
    n = count[row, variant]
    if (!n) return ""
    for (i = 1; i <= n; i++) sorted[i] = samples[row, variant, i] + 0
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && sorted[j - 1] > sorted[j]; j--) { swap = sorted[j]; sorted[j] = sorted[j - 1]; sorted[j - 1] = swap }
    return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

function shown(value) {
    if (value == "") return "-"
    return value >= 1000 ? sprintf("%.0f", value) : sprintf("%.2f", value)
}

function better(row, shunt, kernel) {
    if (shunt == "" || kernel == "" || shunt == 0 || kernel == 0) return "-"
    return sprintf("%.2fx", unit[row] == "us" ? kernel / shunt : shunt / kernel)
}

END {
    printf "\n%-38s %-6s %9s %9s %9s %9s %9s  %7s %7s %7s  %7s\n", "", "", "kernel", "floor", "server", "client", "both",
        "server", "client", "both", "both"
    printf "%-38s %-6s %9s %9s %9s %9s %9s  %7s %7s %7s  %7s\n", "median", "unit", "", "", "on shunt", "on shunt", "on shunt",
        "better", "better", "better", "/floor"
    print "row", "unit", "kernel", "floor", "server", "client", "both" > medians
    for (r = 1; r <= row_count; r++) {
        row = rows[r]
        kernel = median(row, "kernel"); floor = median(row, "floor")
        server = median(row, "server"); client = median(row, "client"); both = median(row, "both")
        over = floor != "" && both != "" ? sprintf("%.2fx", both / floor) : "-"
        printf "%-38s %-6s %9s %9s %9s %9s %9s  %7s %7s %7s  %7s\n", row, unit[row], shown(kernel), shown(floor), shown(server),
            shown(client), shown(both), better(row, server, kernel), better(row, client, kernel), better(row, both, kernel), over
        print row, unit[row], kernel, floor, server, client, both > medians
    }
    print "\nRound trips in microseconds, all values medians over the rounds. \"better\": above 1.00x shunt beats the kernel."
}
