<?php
/* A mini-chat as one wrote it in 2007: the channel is a file, its cursor the moment it was last written, and who waits
 * looks ten times a second whether it has changed. A process for each visitor; what is said twice within a second
 * is heard once. (Ours, not the article's text: the approach is what is compared.)
 */

$file = getenv('CHAT_FILE') ?: sys_get_temp_dir() . '/chat.txt';

if (isset($_GET['msg']) && $_GET['msg'] !== '') {
    file_put_contents($file, $_GET['msg'], LOCK_EX);
    exit;
}

set_time_limit(0);
$since = (int) ($_GET['timestamp'] ?? 0);
do {
    clearstatcache(true, $file);
    $changed = is_file($file) ? filemtime($file) : 0;
    if ($changed > $since) {
        break;
    }
    usleep(100000);
} while (!connection_aborted());

header('Content-Type: application/json');
header('Cache-Control: no-cache, must-revalidate');
echo json_encode(['msg' => file_get_contents($file), 'timestamp' => $changed]);
