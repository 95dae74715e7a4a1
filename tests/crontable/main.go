// Command crontable prints what github.com/robfig/cron v3 accepts, refuses and computes, for the tests of kubecron.
//
//	go run . > table.tsv
//
// Each line is a record of fields between tabs; texts are JSON strings, times are RFC 3339 in UTC.
//
//	accepts  expression
//	refuses  expression  message
//	next     zone  expression  after  time  time  time   ("-": none within five years)
//	zone     name  true|false
package main

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"sort"
	"strings"
	"time"
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
)

const seed = 20260117

// Zones whose clocks do something unusual, and a few ordinary ones.
var zones = []string{
	"UTC", "Etc/UTC", "Etc/GMT+12", "Europe/Berlin", "Europe/Paris", "Europe/London", "Europe/Dublin", "Europe/Amsterdam",
	"Africa/Cairo", "Africa/Casablanca", "Africa/El_Aaiun", "Africa/Monrovia", "Africa/Juba", "America/New_York",
	"America/Los_Angeles", "America/St_Johns", "America/Sao_Paulo", "America/Santiago", "America/Havana", "America/Asuncion",
	"America/Caracas", "America/Nuuk", "America/Scoresbysund", "America/Mexico_City", "Antarctica/Troll", "Asia/Amman",
	"Asia/Beirut", "Asia/Gaza", "Asia/Kathmandu", "Asia/Kolkata", "Asia/Pyongyang", "Asia/Tehran", "Asia/Tokyo",
	"Atlantic/Azores", "Australia/Eucla", "Australia/Lord_Howe", "Australia/Sydney", "Pacific/Apia", "Pacific/Auckland",
	"Pacific/Chatham", "Pacific/Kiritimati", "Pacific/Kwajalein",
}

// Schedules that a change of the clocks can hit.
var hit = []string{
	"30 2 * * *", "0 2 * * *", "0 0 * * *", "30 0 * * *", "15 1 * * *", "0 3 * * *", "*/15 * * * *", "0 */2 * * *",
	"@hourly", "@daily", "@weekly", "0 0 */2 * 1", "45 23 * * *", "30 1,2,3 * * *", "59 23 31 * *", "0 0 1 * *",
}

// Schedules with a meaning of their own, at ordinary moments.
var meaning = []string{
	"*/2 * */2 * 1", "0 0 */2 * 1", "0 0 */1 * 1", "0 0 * * 1", "0 0 ? * 1", "0 0 1 * ?", "0 0 1-31 * 1", "0 0 13 * fri",
	"0 0 29 2 *", "0 0 29 2 1", "0 0 29 2 */2", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 * *", "59 23 31 12 *", "0 0 1 1 *",
	"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly", ", * * * *", "* , * * *", "* * , * *",
	"* * * , *", "* * * * ,", "* * , * 1", "* * , * ,", "0 0 , * 1-5", "*-5 * * * *", "5/20 * * * *", "0 22/1 * * *",
	"0 0 10/10 * *", "0 0 * 3/4 *", "0 0 * * 2/2", "0 0 * JAN-mar Mon", "00 06 01 01 00", "+5 +6 * * *", "0 0 * * ?/2",
	"10-20/3 * * * *", "*/59 * * * *", "*/60 * * * *", "*/9223372036854775807 * * * *", "0 9-17/2 * * 1-5", "0 0 L * *",
	"0 0 15,31 * 0,6", "0 0 1,1,1 * *", "1,,2 * * * *", "* * * * *",
}

var zonePart = regexp.MustCompile(`^[A-Za-z._0-9+-]{1,14}$`)

// Names that are no time zones to Kubernetes, or might not be.
var nearly = []string{
	"", "Local", "local", "LOCAL", "utc", "Utc", "europe/berlin", "Europe/berlin", "EUROPE/BERLIN", "Europe", "Europe/", "/Europe/Berlin",
	"Europe/Berlin ", " Europe/Berlin", "Europe//Berlin", "./UTC", "../UTC", "Europe/../UTC", "Mars/Olympus", "CEST", "CET", "EST", "MST7MDT",
	"UTC+1", "GMT+1", "Etc/GMT+1", "GMT0", "Z", "Zulu", "+01:00", "US/Eastern", "zone.tab", "Berlin",
}

// Texts of which many are refused, some surprisingly not.
var texts = []string{
	"", " ", "*", "* *", "* * * *", "* * * * * *", "0 0 0 1 1 *", " 0 6 * * * ", "\t0\t6 *  * *\n", "0 6 * * *\u00a0", "0\u20036 * * *",
	"0\u00856 * * *", "0\x1c6 * * *", "0\u200b6 * * *", "0 6 * * 7", "0 6 * * 5-7", "0 6 * * L", "0 6 * * 5L", "0 6 * * 5#2", "0 6 L * *", "0 6 LW * *",
	"0 6 15W * *", "0 6 ? * *", "0 6 * * ?", "? ? ? ? ?", "? * ?/2 * ?", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 0 *",
	"* * * 13 *", "* * * * 8", "-1 * * * *", "5- * * * *", "-5 * * * *", "1-2-3 * * * *", "*-2-3 * * * *", "*-x * * * *", "*- * * * *", "?-7 * * * *",
	"1//2 * * * *", "1/2/3 * * * *", "/2 * * * *", "*/ * * * *", "*/0 * * * *", "*/-1 * * * *", "*/+2 * * * *", "*/x * * * *", "5-1 * * * *",
	"10-5/2 * * * *", "**  * * * *", "*5 * * * *", "5* * * * *", "*,5 * * * *", "5,* * * * *", ",, * * * *", ",5, * * * *", "1.5 * * * *", "0x5 * * * *",
	"1_0 * * * *", "1e1 * * * *", "\u0663 * * * *", "\uff11 * * * *", "99999999999999999999 * * * *", "*/99999999999999999999 * * * *",
	"*/-9223372036854775808 * * * *", "*/-9223372036854775809 * * * *", "*/00000000000000000000000000000000000000005 * * * *", "+ * * * *", "++5 * * * *", "*/-0 * * * *",
	"0 0 * jan *", "0 0 * JAN *", "0 0 * january *", "0 0 * jan-dec/2 *", "0 0 * dec-jan *", "0 0 jan * *", "0 0 * * mon", "0 0 * * MON-fri", "0 0 * * sun-sat",
	"0 0 * * fri-sun", "0 0 * * monday", "0 0 * * m", "0 0 * mon *", "0 0 * * jan", "0 0 * * FR\u0130", "0 0 * * fr\u0131", "0 0 * * mon,wed,", "mon * * * *", "0 0 * * 0-6", "0 0 * * 0,7",
	"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly", "@Daily", "@reboot", "@", "@daily ", " @daily", "@every", "@secondly", "@minutely",
	"@hourly * * * *", "H * * * *", "H/15 * * * *", "0 6 * * 1#1", "0 6 C * *", "0 6 * * *;", "0 6 * * * # daily", "\"0 6 * * *\"", "0 6 * * * echo", "a b c d e", "0 6 1\\2 * *",
	"0 6 \"1\" * *", "\u00e9 * * * *", "* * * * \U0001F600", "0,30 8-18 * * mon-fri", "0 0 1,15 * *", "5-5 * * * *", "59-59/7 * * * *", "0-59 0-23 1-31 1-12 0-6", "0-60 * * * *",
}

func quote(text string) string {
	shown, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(shown)
}

func show(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format(time.RFC3339)
}

// changes finds when the offset of a zone changes between two years, to the second.
func changes(zone *time.Location, from, to int) []time.Time {
	offset := func(at time.Time) int {
		_, seconds := at.In(zone).Zone()
		return seconds
	}
	var found []time.Time
	end := time.Date(to, 1, 1, 0, 0, 0, 0, time.UTC)
	for at := time.Date(from, 1, 1, 0, 0, 0, 0, time.UTC); at.Before(end); at = at.Add(6 * time.Hour) {
		if offset(at) == offset(at.Add(6*time.Hour)) {
			continue
		}
		second := sort.Search(6*3600, func(n int) bool { return offset(at.Add(time.Duration(n)*time.Second)) != offset(at) })
		found = append(found, at.Add(time.Duration(second)*time.Second))
	}
	return found
}

func parse(expression string) {
	_, err := cron.ParseStandard(expression)
	if err == nil {
		fmt.Printf("accepts\t%s\n", quote(expression))
		return
	}
	fmt.Printf("refuses\t%s\t%s\n", quote(expression), quote(err.Error()))
}

// endless tells whether Next would take minutes or never return: where no minute matches, and where a search over days
// meets one that does not exist.
func endless(zone, expression string, after time.Time) bool {
	if strings.Trim(strings.Fields(expression)[0], ",") == "" {
		return true
	}
	missing, there := map[string]time.Time{
		"Pacific/Apia":       time.Date(2011, 12, 30, 10, 0, 0, 0, time.UTC),
		"Pacific/Kiritimati": time.Date(1994, 12, 31, 10, 0, 0, 0, time.UTC),
		"Pacific/Kwajalein":  time.Date(1993, 8, 21, 12, 0, 0, 0, time.UTC),
	}[zone]
	hourly := expression == "@hourly" || expression == "@daily" || strings.HasSuffix(expression, " * * *")
	return there && !hourly && after.Before(missing.AddDate(0, 0, 2))
}

func next(zone, expression string, after time.Time) {
	if endless(zone, expression, after) {
		return
	}
	schedule, err := cron.ParseStandard("TZ=" + zone + " " + expression)
	if err != nil {
		return
	}
	fields := []string{"next", zone, quote(expression), show(after)}
	at := after
	for range 3 {
		at = schedule.Next(at)
		fields = append(fields, show(at))
		if at.IsZero() {
			break
		}
	}
	fmt.Println(strings.Join(fields, "\t"))
}

func pick(dice *rand.Rand, choices ...string) string { return choices[dice.Intn(len(choices))] }

// word is a field of a schedule, right or nearly right.
func word(dice *rand.Rand, lowest, highest int, names []string) string {
	number := func() string {
		if len(names) > 0 && dice.Intn(3) == 0 {
			return pick(dice, names...)
		}
		return fmt.Sprint(lowest + dice.Intn(highest-lowest+1) + dice.Intn(30)/29*3 - dice.Intn(30)/29)
	}
	part := func() string {
		text := pick(dice, "*", "?", number(), number(), number(), number()+"-"+number())
		if dice.Intn(3) == 0 {
			text += "/" + fmt.Sprint(dice.Intn(9))
		}
		return text
	}
	text := part()
	for dice.Intn(4) == 0 {
		text += "," + part()
	}
	return text
}

func anything(dice *rand.Rand) string {
	months := []string{"jan", "FEB", "Mar", "dec", "sept"}
	days := []string{"sun", "MON", "Tue", "sat", "sunday"}
	star := func(text string) string {
		if dice.Intn(2) == 0 {
			return "*"
		}
		return text
	}
	fields := []string{
		word(dice, 0, 59, nil), star(word(dice, 0, 23, nil)), star(word(dice, 1, 31, nil)),
		star(word(dice, 1, 12, months)), star(word(dice, 0, 6, days)),
	}
	return strings.Join(fields, " ")
}

// broken is a schedule with one character put in, taken out or replaced.
func broken(dice *rand.Rand) string {
	text := []rune(pick(dice, append(append([]string{}, hit...), meaning...)...))
	at := dice.Intn(len(text))
	other := []rune("0123456789*?/-,@#LWH +.;_\tjanmon")
	replacement := []rune{other[dice.Intn(len(other))]}
	switch dice.Intn(3) {
	case 0:
		return string(text[:at]) + string(text[at+1:])
	case 1:
		return string(text[:at]) + string(replacement) + string(text[at:])
	default:
		return string(text[:at]) + string(replacement) + string(text[at+1:])
	}
}

func expressions(dice *rand.Rand) []string {
	all := append(append(append([]string{}, texts...), meaning...), hit...)
	for range 1200 {
		all = append(all, anything(dice))
	}
	for range 1200 {
		all = append(all, broken(dice))
	}
	sort.Strings(all)
	unique := all[:0]
	for number, text := range all {
		hidden := strings.Contains(text, "TZ") || strings.HasPrefix(text, "@every ")
		if !hidden && (number == 0 || text != all[number-1]) {
			unique = append(unique, text)
		}
	}
	return unique
}

func main() {
	names, release := zoneinfo()
	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		fmt.Printf("# %s %s, %s, tzdata %s, seed %d\n", module.Path, module.Version, build.GoVersion, release, seed)
	}
	dice := rand.New(rand.NewSource(seed))
	all := expressions(dice)
	for _, expression := range all {
		parse(expression)
	}
	for _, name := range zones {
		zone, err := time.LoadLocation(name)
		if err != nil {
			panic(err)
		}
		for _, at := range pickChanges(dice, name, zone) {
			for range 7 {
				before := []time.Duration{time.Second, 3 * time.Hour, 12 * time.Hour, time.Minute, 30 * time.Minute, 90 * time.Minute, 26 * time.Hour, -29 * time.Minute}
				next(name, pick(dice, hit...), at.Add(-before[dice.Intn(len(before))]))
			}
		}
	}
	moments := []time.Time{
		time.Date(2024, 2, 28, 23, 59, 59, 0, time.UTC), time.Date(2025, 6, 17, 10, 20, 30, 0, time.UTC),
		time.Date(2096, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2023, 12, 31, 23, 30, 0, 0, time.UTC),
	}
	for _, expression := range meaning {
		for _, at := range moments {
			next(pick(dice, "UTC", "Europe/Berlin", "Asia/Kolkata"), expression, at)
		}
	}
	for range 1200 {
		at := time.Unix(1262304000+dice.Int63n(16*365*86400), 0).UTC() // 2010 to 2025
		next(pick(dice, zones...), pick(dice, all...), at)
	}
	for _, name := range append(names, nearly...) {
		fmt.Printf("zone\t%s\t%t\n", quote(name), isZone(name))
	}
}

// isZone is what Kubernetes asks of a CronJob's time zone.
func isZone(name string) bool {
	for _, part := range strings.Split(name, "/") {
		if part == "." || part == ".." || strings.HasPrefix(part, "-") || !zonePart.MatchString(part) {
			return false
		}
	}
	_, err := time.LoadLocation(name)
	return err == nil && !strings.EqualFold(name, "Local")
}

// zoneinfo makes this program use the zones that Go carries, and returns their names and their release.
func zoneinfo() ([]string, string) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		panic(err)
	}
	folder := filepath.Join(strings.TrimSpace(string(root)), "lib", "time")
	if err := os.Setenv("ZONEINFO", filepath.Join(folder, "zoneinfo.zip")); err != nil {
		panic(err)
	}
	archive, err := zip.OpenReader(filepath.Join(folder, "zoneinfo.zip"))
	if err != nil {
		panic(err)
	}
	defer archive.Close()
	var names []string
	for _, file := range archive.File {
		if !strings.HasSuffix(file.Name, "/") {
			names = append(names, file.Name)
		}
	}
	sort.Strings(names)
	script, err := os.ReadFile(filepath.Join(folder, "update.bash"))
	if err != nil {
		panic(err)
	}
	return names, regexp.MustCompile(`(?m)^DATA=(\S+)`).FindStringSubmatch(string(script))[1]
}

// pickChanges are all changes of a zone's clocks in some years, or some of them where there are many.
func pickChanges(dice *rand.Rand, name string, zone *time.Location) []time.Time {
	found := changes(zone, 1960, 2026)
	dice.Shuffle(len(found), func(a, b int) { found[a], found[b] = found[b], found[a] })
	if len(found) > 8 {
		found = found[:8]
	}
	special := map[string]time.Time{
		"Pacific/Apia":      time.Date(2011, 12, 30, 10, 0, 0, 0, time.UTC),
		"Africa/Cairo":      time.Date(2023, 4, 27, 22, 0, 0, 0, time.UTC),
		"Africa/Monrovia":   time.Date(1972, 1, 7, 0, 44, 30, 0, time.UTC),
		"Pacific/Kwajalein": time.Date(1993, 8, 21, 12, 0, 0, 0, time.UTC),
		"America/St_Johns":  time.Date(2010, 11, 7, 2, 31, 0, 0, time.UTC),
	}
	if at, there := special[name]; there {
		found = append(found, at, at, at)
	}
	return found
}
