<?php
// curl of PHP.

function get(string $url): string
{
    // docs
    $request = curl_init($url);
    curl_setopt($request, CURLOPT_RETURNTRANSFER, true);
    $body = curl_exec($request);
    $status = curl_getinfo($request, CURLINFO_RESPONSE_CODE);
    if ($body === false || $status >= 400) {
        throw new Exception("$status: " . ($body ?: curl_error($request)));
    }
    // end
    return $body;
}

function words(string $pattern, string $text): string
{
    preg_match_all($pattern, $text, $found);
    return preg_replace('/ end$/', '', implode(' ', $found[1]));
}

function request(string $base): string
{
    return words('/"answer": "(\w+)"/', get("$base/item"));
}

function stream(string $base): string
{
    return words('/data: (\w+)/', get("$base/events"));
}

function upload(string $base): string
{
    $request = curl_init("$base/upload");
    $file = new CURLStringFile(str_repeat('x', 100000), 'f');
    curl_setopt_array($request, [CURLOPT_RETURNTRANSFER => true, CURLOPT_POSTFIELDS => ['file' => $file]]);
    return words('/(\d+)/', curl_exec($request));
}

// Runs a case and prints its result as one line, as cases.py does.
function run(string $name, string $action): void
{
    $how = 'returned';
    try {
        $text = $action(getenv('BASE') . "/$name");
    } catch (Exception $error) {
        [$how, $text] = ['raised', $error->getMessage()];
    }
    echo implode("\t", ['case', $name, $how, preg_replace('/\s+/', ' ', $text)]), "\n";
}

run('request', 'request');
run('stream', 'stream');
run('upload', 'upload');
foreach (['forbidden', 'large', 'limited', 'unavailable'] as $name) {
    run($name, 'request');
}
run('cut', 'stream');
